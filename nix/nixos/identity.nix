# The identities that `core/model/src/identity.rs` derives from `host.id`: UUIDv5 (RFC 9562, section
# 5.5) of purpose, name and epoch, in the namespace of the host.
#
# SHA-1 is written out here because a Nix string cannot hold the namespace's sixteen bytes:
# `builtins.hashString` would hash their text. Bytes are integers, words are integers below 2^32.
let
  inherit (builtins)
    bitAnd
    bitOr
    bitXor
    concatStringsSep
    elemAt
    foldl'
    genList
    length
    listToAttrs
    stringLength
    substring
    ;

  range = count: genList (index: index) count;
  characters = text: genList (index: substring index 1 text) (stringLength text);
  indexed =
    text: offset:
    listToAttrs (
      genList (index: {
        name = substring index 1 text;
        value = offset + index;
      }) (stringLength text)
    );

  hexDigits = "0123456789abcdef";
  hexValues = indexed hexDigits 0;
  # What can stand in a purpose, a name and an epoch; everything else is refused by `byteOf`.
  codes = indexed "-./0123456789" 45 // indexed "_" 95 // indexed "abcdefghijklmnopqrstuvwxyz" 97;
  byteOf =
    character:
    codes.${character} or (throw "bedplate: `${character}` cannot stand in the name of an identity");

  powerOfTwo = exponent: foldl' (power: _: power * 2) 1 (range exponent);
  word = value: bitAnd value 4294967295;
  # Both factors stay below 2^31 and 2^32, so that the product fits a signed 64-bit integer.
  rotate = count: value: bitOr (word (value * powerOfTwo count)) (value / powerOfTwo (32 - count));
  complement = bitXor 4294967295;

  # One block is enough: 16 bytes of namespace, a purpose of at most 8, a name of at most 24 and
  # an epoch leave room for the padding.
  block =
    message:
    let
      count = length message;
      zeros = genList (_: 0) (55 - count);
    in
    if count > 55 then
      throw "bedplate: the name of an identity is too long"
    else
      message ++ [ 128 ] ++ zeros ++ [ 0 0 0 0 0 0 ] ++ [ (count * 8 / 256) (bitAnd (count * 8) 255) ];

  schedule =
    bytes:
    let
      first = genList (
        index:
        foldl' (value: offset: value * 256 + elemAt bytes (index * 4 + offset)) 0 (range 4)
      ) 16;
      next =
        words: index:
        words
        ++ [
          (rotate 1 (
            foldl' (value: back: bitXor value (elemAt words (index - back))) 0 [ 3 8 14 16 ]
          ))
        ];
    in
    foldl' next first (genList (index: index + 16) 64);

  initial = [ 1732584193 4023233417 2562383102 271733878 3285377520 ];

  step =
    words: state: index:
    let
      a = elemAt state 0;
      b = elemAt state 1;
      c = elemAt state 2;
      d = elemAt state 3;
      e = elemAt state 4;
      parity = bitXor b (bitXor c d);
      mixed =
        if index < 20 then
          bitOr (bitAnd b c) (bitAnd (complement b) d) + 1518500249
        else if index < 40 then
          parity + 1859775393
        else if index < 60 then
          bitOr (bitAnd b c) (bitOr (bitAnd b d) (bitAnd c d)) + 2400959708
        else
          parity + 3395469782;
      head = word (rotate 5 a + mixed + e + elemAt words index);
    in
    # Evaluated at each step: a chain of eighty thunks is not.
    builtins.seq head [ head a (rotate 30 b) c d ];

  sha1 =
    message:
    let
      words = schedule (block message);
      last = foldl' (step words) initial (range 80);
    in
    genList (index: word (elemAt initial index + elemAt last index)) 5;

  bytesOfWord = value: map (shift: bitAnd (value / powerOfTwo shift) 255) [ 24 16 8 0 ];
  hexOfByte = value: substring (value / 16) 1 hexDigits + substring (bitAnd value 15) 1 hexDigits;

  namespace =
    uuid:
    let
      digits = characters (builtins.replaceStrings (characters "ABCDEF-") (characters "abcdef" ++ [ "" ]) uuid);
      valueAt =
        index:
        hexValues.${elemAt digits index} or (throw "bedplate: host.id `${uuid}` is not a UUID");
    in
    if length digits != 32 then
      throw "bedplate: host.id `${uuid}` is not a UUID"
    else
      genList (index: valueAt (index * 2) * 16 + valueAt (index * 2 + 1)) 16;

  # Version 5 in the seventh byte, the variant in the ninth.
  stamped =
    index: value:
    if index == 6 then
      bitOr 80 (bitAnd value 15)
    else if index == 8 then
      bitOr 128 (bitAnd value 63)
    else
      value;
in
{
  # `purpose` is a word of `Purpose::word`: "gpt-esp", "gpt-luks", "luks", "btrfs", …
  derive =
    host: purpose: name: epoch:
    let
      text = "${purpose}/${name}/${toString epoch}";
      digest = builtins.concatMap bytesOfWord (sha1 (namespace host ++ map byteOf (characters text)));
      hex = genList (index: hexOfByte (stamped index (elemAt digest index))) 16;
      group = start: count: concatStringsSep "" (genList (index: elemAt hex (start + index)) count);
    in
    concatStringsSep "-" [ (group 0 4) (group 4 2) (group 6 2) (group 8 2) (group 10 6) ];
}
