//! Machines as data, firmware, disks with identities, QMP, expectations.
