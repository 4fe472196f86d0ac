//! LUKS2 and dm-verity through libcryptsetup.
