{
  description = "Homelab: laid out for blueprint";

  inputs = {
    # Stands for nixpkgs, which tests cannot have.
    nixpkgs.url = "path:./stand-in";
    # Not blueprint, which tests cannot have either: a lister of our own that takes the same call,
    # at a place that the test writes here.
    blueprint.url = "path:@directory-lister@";
  };

  outputs =
    inputs:
    inputs.blueprint {
      inherit inputs;
      prefix = "nix/";
    };
}
