# Turns a directory of hosts into `nixosConfigurations` of the embedded platform.
let
  platform =
    if builtins.pathExists ./platform.json then
      builtins.fromJSON (builtins.readFile ./platform.json)
    else
      throw "bedplate/platform.json is not there, so nothing can be built: it comes from the medium (`bedplate init --medium FILE`, `bedplate host add --medium FILE`)";

  # A path that is supplied by the medium and never built: its store path follows from name and
  # hash. Where the medium was not copied into the store, Nix says that `/missing` does not exist.
  supplied =
    { name, path, hash }:
    let
      output = derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/missing";
        outputHashMode = "recursive";
        outputHash = hash;
      };
    in
    assert output.outPath == path || throw "platform.json: ${name} is at ${output.outPath}, not at ${path}";
    output;

  # What is asked of a system before it is built, by those who list the hosts of a flake.
  system = "x86_64-linux";
  hostPlatform = {
    inherit system;
    config = "x86_64-unknown-linux-gnu";
    isLinux = true;
    isDarwin = false;
    isx86_64 = true;
    isAarch64 = false;
    isx86 = true;
    is64bit = true;
    parsed = { cpu.name = "x86_64"; kernel.name = "linux"; };
  };

  # What a configuration.nix of the embedded platform is called with.
  bedplate.platformModule = document: { bedplate.document = document; };

  # A NixOS module may ask for arguments that this platform does not have: the options it sets with them
  # are not honoured anyway. What is honoured cannot use them.
  call =
    name: module:
    let
      asked = builtins.functionArgs module;
      withDefault = builtins.filter (argument: asked.${argument}) (builtins.attrNames asked);
      absent = builtins.mapAttrs (
        argument: _: throw "host ${name}: configuration.nix uses `${argument}`, which the embedded platform does not have"
      ) (removeAttrs asked withDefault);
    in
    if builtins.isFunction module then module (absent // { inherit bedplate; }) else module;

  # The options that a module sets, by their whole names as far as they can be read: a value that uses
  # what is not there cannot be, and ends the name.
  options =
    prefix: set:
    builtins.concatMap (
      name:
      let
        found = builtins.tryEval (
          let
            value = set.${name};
          in
          if builtins.isAttrs value && !(value ? _type || value ? outPath) then value else { }
        );
        inner = if found.success then found.value else { };
      in
      if builtins.attrNames inner == [ ] then [ "${prefix}${name}" ] else options "${prefix}${name}." inner
    ) (builtins.attrNames set);

  # What of a configuration.nix is not honoured: everything but the platform's own module.
  unknownOptions =
    configuration:
    let
      module =
        module:
        if builtins.isAttrs module then
          options "" (removeAttrs module [ "bedplate" ])
          ++ options "bedplate." (removeAttrs (module.bedplate or { }) [ "document" ])
        else if builtins.isPath module then
          [ "imports = [ ${baseNameOf module} ]" ]
        else
          [ "imports" ];
    in
    map (option: "`${option}` of configuration.nix") (
      options "" (removeAttrs configuration [ "imports" ])
      ++ builtins.concatMap module (configuration.imports or [ ])
    );

  # The zones of Debian's tzdata by their first word, and those of them that have another name by now:
  # names of old are in a package of their own (tzdata-legacy), which the tree does not have.
  areas = [ "Africa" "America" "Antarctica" "Arctic" "Asia" "Atlantic" "Australia" "Etc" "Europe" "GMT" "Indian" "Pacific" "UTC" ];
  formerZones = [
    "Africa/Asmera" "America/Argentina/ComodRivadavia" "America/Buenos_Aires" "America/Catamarca"
    "America/Cordoba" "America/Fort_Wayne" "America/Godthab" "America/Indianapolis" "America/Jujuy"
    "America/Knox_IN" "America/Louisville" "America/Mendoza" "America/Rosario" "Antarctica/South_Pole"
    "Asia/Ashkhabad" "Asia/Calcutta" "Asia/Choibalsan" "Asia/Chungking" "Asia/Dacca" "Asia/Katmandu"
    "Asia/Macao" "Asia/Rangoon" "Asia/Saigon" "Asia/Thimbu" "Asia/Ujung_Pandang" "Asia/Ulan_Bator"
    "Atlantic/Faeroe" "Australia/ACT" "Australia/LHI" "Australia/NSW" "Australia/North"
    "Australia/Queensland" "Australia/South" "Australia/Tasmania" "Australia/Victoria" "Australia/West"
    "Europe/Kiev" "Europe/Uzhgorod" "Europe/Zaporozhye" "Pacific/Enderbury" "Pacific/Ponape"
    "Pacific/Truk"
  ];

  # What of a host.toml is not honoured. Whatever is not named here is; a test of this repository knows
  # where for each key, and looks into a tree for what is said of it here.
  unknownKeys =
    { host, notify ? { }, ... }:
    let
      # Mistakes are for the builder to name, which reads the document with the whole decoder.
      text = value: if builtins.isString value then value else "";
      set = value: if builtins.isAttrs value then value else { };
      shown = name: if builtins.match "[A-Za-z0-9_-]+" name == null then builtins.toJSON name else name;

      locale = text (host.locale or "C.UTF-8");
      timezone = text (host.timezone or "UTC");
      area = builtins.head (builtins.split "/" timezone);
      users = set (host.users or { });
      groups = user: users.${user}.groups or [ ];
      isAdministrator = user: builtins.isList (groups user) && builtins.elem "sudo" (groups user);

      key = name: why: [ "`${name}` of host.toml: ${why}" ];
      optionals = condition: list: if condition then list else [ ];
    in
    optionals (locale != "C.UTF-8") (
      key "host.locale" "its tree has C.UTF-8 alone, not ${builtins.toJSON locale}"
    )
    ++ optionals (!builtins.elem area areas || builtins.elem timezone formerZones) (
      key "host.timezone" "its tree has no zone ${builtins.toJSON timezone}, so clocks show UTC; today's names by area are there, such as \"Europe/Kyiv\""
    )
    ++ builtins.concatMap (
      user:
      key "host.users.${shown user}.groups" "`sudo` gives nothing: there is no sudo, and no account has a password; log in as root with an ssh key"
    ) (builtins.filter isAdministrator (builtins.attrNames users))
    ++ optionals (notify ? mail) (
      key "notify.mail" "its tree has no sendmail; `notify.url` works"
    );

  host =
    name: directory:
    let
      configuration = call name (import (directory + "/configuration.nix"));
      documents = builtins.filter (module: module ? bedplate) (configuration.imports or [ ]);
      document =
        if builtins.length documents == 1 then
          (builtins.head documents).bedplate.document
        else
          throw "host ${name}: configuration.nix must import bedplate.platformModule exactly once";
      settings = builtins.fromTOML (builtins.readFile document);
      warnings = map (what: "host ${name}: the embedded platform cannot honour ${what}") (
        unknownOptions configuration ++ unknownKeys settings
      );
      warned = builtins.foldl' (value: warning: builtins.trace "warning: ${warning}" value);
      toplevel = derivation {
        name = "bedplate-system-${settings.host.name}";
        system = "x86_64-linux";
        builder = "${supplied platform.programs}/bin/bedplate-host";
        args = [ "system" ];
        document = builtins.path { path = document; name = "host.toml"; };
        tree = supplied platform.tree;
        programs = supplied platform.programs;
        runtime = supplied platform.runtime;
        initrdModules = supplied platform.initrdModules;
        initrdProgram = supplied platform.initrdProgram;
        kernelVersion = platform.kernelVersion;
      };
    in
    if settings.host.name != name then
      throw "host ${name}: its host.toml names the host `${settings.host.name}`; both must agree"
    else if settings.host.platform or "nixos" != "embedded" then
      throw "host ${name}: platform = \"embedded\" is what this flake builds"
    else
      {
        config = {
          system.build.toplevel = warned toplevel warnings;
          # Under NixOS's names for them.
          system.name = name;
          warnings = warnings;
          assertions = [ ];
          networking.hostName = name;
          nixpkgs = { inherit hostPlatform system; buildPlatform = hostPlatform; };
          # A deploy tool asks which loader to install: the platform has its own.
          boot.loader = { systemd-boot.enable = false; grub.enable = false; };
          # The document as Nix reads it; known without a medium.
          bedplate = settings;
        };
        # Flakes ask a system for its platform before they build it.
        pkgs = { inherit system; stdenv = { inherit hostPlatform system; buildPlatform = hostPlatform; }; };
        options = { };
        class = "nixos";
        type.name = "configuration";
        extendModules = _: throw "host ${name}: the embedded platform has no modules to extend; its host.toml says what it is";
      };
in
{
  # One host, for a flake that writes its hosts out.
  inherit host;

  hosts =
    directory:
    let
      entries = builtins.readDir directory;
      isHost =
        name:
        entries.${name} == "directory"
        && builtins.pathExists (directory + "/${name}/configuration.nix");
      names = builtins.filter isHost (builtins.attrNames entries);
    in
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = host name (directory + "/${name}");
      }) names
    );
}
