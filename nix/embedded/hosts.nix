let
  platform = import ./platform.nix;

  # What a host file may use. A module is data here: it names the document, no more.
  bedplate.platformModule = document: { bedplateDocument = document; };

  host = directory:
    let
      file = directory + "/configuration.nix";
      configuration = import file;
      module =
        if builtins.isFunction configuration then configuration { inherit bedplate; } else configuration;
      documents =
        builtins.concatMap (part: if part ? bedplateDocument then [ part.bedplateDocument ] else [ ])
          (builtins.filter builtins.isAttrs (module.imports or [ ]));
      foreign =
        builtins.filter (name: name != "imports") (builtins.attrNames module)
        ++ (if builtins.length documents < builtins.length (module.imports or [ ]) then [ "imports" ] else [ ]);
      warned =
        if foreign == [ ] then
          platform.toplevel
        else
          builtins.warn
            "${toString file}: the embedded platform has no NixOS modules; not honoured: ${builtins.concatStringsSep ", " foreign}"
            platform.toplevel;
    in
    if builtins.length documents != 1 then
      throw "${toString file} must import bedplate.platformModule exactly once"
    else
      {
        config.system.build.toplevel = warned (builtins.head documents);
      };
in
{
  # One system for each directory with a configuration.nix.
  hosts = hosts:
    let
      entries = builtins.readDir hosts;
      names = builtins.filter
        (name: entries.${name} == "directory" && builtins.pathExists (hosts + "/${name}/configuration.nix"))
        (builtins.attrNames entries);
    in
    builtins.listToAttrs (map (name: { inherit name; value = host (hosts + "/${name}"); }) names);
}
