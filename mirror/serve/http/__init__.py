"""HTTP as the server speaks it: from the socket to the answer that is sent."""
