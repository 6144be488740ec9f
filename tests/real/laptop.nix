# A laptop as many have one: what its rebuild takes is looked at by test_real_nixos.py.
{
  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;

  fileSystems."/" = {
    device = "/dev/disk/by-label/root";
    fsType = "ext4";
  };
  fileSystems."/boot" = {
    device = "/dev/disk/by-label/boot";
    fsType = "vfat";
  };

  networking.hostName = "laptop";
  networking.wireless.enable = true;
  networking.wg-quick.interfaces.home = {
    address = [ "192.0.2.2/32" ];
    privateKeyFile = "/etc/wireguard/home.key";
    peers = [
      {
        publicKey = "aGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gaGU=";
        allowedIPs = [ "192.0.2.0/24" ];
      }
    ];
  };

  services.openssh.enable = true;
  services.dnsmasq.enable = true;
  programs.neovim.enable = true;

  users.users.ann = {
    isNormalUser = true;
    extraGroups = [ "wheel" ];
  };

  nixpkgs.hostPlatform = "x86_64-linux";
  system.stateVersion = "26.05";
}
