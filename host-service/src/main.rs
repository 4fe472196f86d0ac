//! bedplate-host: activation, generations, pools, bridges, VMs, NFS, backups.

fn main() {}
