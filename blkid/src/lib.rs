//! Signatures on block devices through libblkid.
