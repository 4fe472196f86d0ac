{ ... }: { networking.hostName = "oracle"; }
