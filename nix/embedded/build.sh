# Puts a toplevel together. Runs in Nix's sandbox, where nothing is but the inputs.
box=$tree/usr/bin/busybox
host=$programs/bin/bedplate-host

$box mkdir -p "$out/bin" rendered
"$host" render "$document" --out "$PWD/rendered"
$box cp -R rendered/etc "$out/etc"
$box cp "$document" "$out/host.toml"

$box ln -s "$tree" "$out/tree"
$box ln -s "$programs" "$out/programs"
$box ln -s "$runtime" "$out/runtime"
$box ln -s "$tree/boot/vmlinuz-$kernelVersion" "$out/kernel"

# The kernel looks for an uncompressed archive on a boundary of four bytes.
for part in "$initrdModules" "$initrdProgram"; do
    $box cat "$part" >> initrd
    while [ $(($($box wc -c < initrd) % 4)) -ne 0 ]; do $box printf '\0' >> initrd; done
done
(cd rendered/initrd && $box find . | $box sort | $box cpio -o -H newc -R 0:0) >> initrd
$box cp initrd "$out/initrd"

parameters="console=tty0 console=ttyS0,115200 panic=30"
$box printf '%s' "$parameters" > "$out/kernel-params"
$box printf '%s' "x86_64-linux" > "$out/system"
$box printf '%s' "${stateVersion:-0} (Bedplate embedded, Debian trixie)" > "$out/nixos-version"
$box cat > "$out/boot.json" <<END
{
  "org.nixos.bootspec.v1": {
    "init": "$out/init",
    "initrd": "$out/initrd",
    "kernel": "$out/kernel",
    "kernelParams": ["console=tty0", "console=ttyS0,115200", "panic=30"],
    "label": "Bedplate on $hostName (Debian trixie, Linux $kernelVersion)",
    "system": "x86_64-linux",
    "toplevel": "$out"
  }
}
END

$box cat > "$out/activate" <<END
#!$box sh
exec $host activate $out
END
$box cat > "$out/bin/switch-to-configuration" <<END
#!$box sh
set -e
case "\$1" in
boot) exec $host generation boot $out ;;
switch)
    $host generation boot $out
    $host activate $out
    if [ "\$($box readlink /run/booted-system/tree)" != "$tree" ]; then
        echo "another tree: it takes effect at the next boot"
    fi
    systemctl daemon-reload
    exec systemctl restart bedplate-converge.service ;;
test)
    $host activate $out
    systemctl daemon-reload
    exec systemctl restart bedplate-converge.service ;;
dry-activate) exec $host plan ;;
*) echo "usage: switch-to-configuration boot|switch|test|dry-activate" >&2; exit 1 ;;
esac
END
$box cat > "$out/init" <<END
#!$box sh
box=$box
\$box mkdir -p /proc /sys /dev /run /tmp /usr
\$box mountpoint -q /proc || \$box mount -t proc proc /proc
\$box mountpoint -q /sys || \$box mount -t sysfs sys /sys
\$box mountpoint -q /dev || \$box mount -t devtmpfs dev /dev
\$box mountpoint -q /run || \$box mount -t tmpfs -o mode=0755 run /run
\$box mountpoint -q /usr || \$box mount -o bind $tree/usr /usr
\$box mount -o remount,bind,ro /usr
\$box ln -sfn $out /run/booted-system
$host activate $out || echo "bedplate: activation failed; the system may be incomplete" >/dev/console
exec /usr/lib/systemd/systemd "\$@"
END
$box chmod 0755 "$out/init" "$out/activate" "$out/bin/switch-to-configuration"
