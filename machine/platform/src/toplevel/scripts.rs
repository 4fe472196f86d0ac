//! The three scripts of a toplevel. Store paths are the only thing written into them.

use super::Parts;

/// Runs as the first process after stage 1, which leaves /proc, /sys, /dev and /run mounted.
pub(super) fn init(parts: &Parts) -> String {
    let Parts { tree, programs, out, .. } = parts;
    format!(
        "#!{tree}/usr/bin/busybox sh\n\
         box={tree}/usr/bin/busybox\n\
         fail() {{\n\
         \techo \"bedplate: $1\"\n\
         \techo 'bedplate: rebooting in 60 seconds; the boot menu offers earlier generations.'\n\
         \t$box sleep 60\n\
         \t$box reboot -f\n\
         }}\n\
         $box mkdir -p /usr || fail 'the root cannot be written to.'\n\
         $box mount -o bind {tree}/usr /usr || fail '/usr could not be bound.'\n\
         $box mount -o remount,bind,ro /usr || fail '/usr could not be made read-only.'\n\
         {programs}/bin/bedplate-host activate {out} || fail 'the system could not be activated.'\n\
         $box ln -sfn {out} /run/booted-system\n\
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
