//! Packages to root file systems, initrd and ISO; in-place personalisation.
