# Where the helpers of NFS 3 listen: as host-service/src/firewall.rs says, whose rules name them.
{
  mountdPort = 20048;
  statdPort = 32765;
  lockdPort = 32803;
}
