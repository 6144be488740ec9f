"""From targets to kept generations: the one pipeline that the commands stop at different points."""
