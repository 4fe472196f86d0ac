//! The three scripts of a toplevel. Store paths are the only thing written into them.

use super::Parts;

/// Runs as the first process after stage 1.
pub(super) fn init(parts: &Parts) -> String {
    let Parts { tree, programs, out, .. } = parts;
    format!(
        "#!{tree}/usr/bin/busybox sh\n\
         if ! {programs}/bin/bedplate-host activate {out}; then\n\
         \techo 'bedplate: the system could not be activated.'\n\
         \techo 'bedplate: rebooting in 60 seconds; the boot menu offers earlier generations.'\n\
         \t{tree}/usr/bin/busybox sleep 60\n\
         \t{tree}/usr/bin/busybox reboot -f\n\
         fi\n\
         exec /usr/lib/systemd/systemd\n"
    )
}

/// Prepares the root file system without starting anything.
pub(super) fn activate(parts: &Parts) -> String {
    let Parts { tree, programs, out, .. } = parts;
    format!("#!{tree}/usr/bin/busybox sh\nexec {programs}/bin/bedplate-host activate {out}\n")
}

/// The interface that NixOS's tools call.
pub(super) fn switch(parts: &Parts) -> String {
    let Parts { tree, programs, out, .. } = parts;
    format!(
        "#!{tree}/usr/bin/busybox sh\n\
         case \"$1\" in\n\
         boot)\n\
         \texec {programs}/bin/bedplate-host generation boot {out}\n\
         \t;;\n\
         *)\n\
         \techo 'The embedded platform switches at the next boot only: use `boot`.' >&2\n\
         \texit 2\n\
         \t;;\n\
         esac\n"
    )
}
