# A user more, who can log in. NixOS writes the users as JSON, which a script applies when the
# system is activated. The hash is that of no password.
{
  users.users.guest = {
    isNormalUser = true;
    description = "Guest";
    hashedPassword = "$6$prefetch$notthehashofanypassword";
  };
}
