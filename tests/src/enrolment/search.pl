# Searches files for what stands in other files. Arguments: files whose content is looked for, `--`,
# then where to look: directories, without those of other file systems below them, and patterns.
# What is looked for is no argument and no word of the environment of anything.
use strict;
use warnings;

my (%needles, @places, $files);
while (@ARGV && $ARGV[0] ne '--') {
    my $path = shift @ARGV;
    open(my $file, '<:raw', $path) or die "$path: $!\n";
    local $/;
    my $bytes = <$file>;
    # Of an ssh key the line with the seed; those before it hold what is public.
    $bytes = (split /\n/, $bytes)[4] if $bytes =~ /\A-----BEGIN/;
    $bytes =~ s/\s+\z// unless $path =~ /keyfile\z/;
    die "$path holds too little to be looked for\n" if length $bytes < 16;
    $needles{$path} = $bytes;
}
shift @ARGV;
my ($overlap) = sort { $b <=> $a } map { length } values %needles;
$files = 0;

sub look {
    my ($path) = @_;
    return if exists $needles{$path};
    open(my $file, '<:raw', $path) or return;
    my ($kept, %found) = ('');
    while (sysread($file, my $block, 1 << 22)) {
        my $text = $kept . $block;
        for my $needle (keys %needles) {
            $found{$needle} = 1 if index($text, $needles{$needle}) >= 0;
        }
        $kept = length $text > $overlap ? substr($text, -$overlap) : $text;
    }
    $files++;
    print "FOUND $_ in $path\n" for sort keys %found;
}

sub walk {
    my ($path, $device) = @_;
    my @found = lstat $path or return;
    return look($path) if -f _;
    return if !-d _ || $found[0] != $device;
    opendir(my $directory, $path) or return;
    my @names = sort grep { $_ ne '.' && $_ ne '..' } readdir $directory;
    closedir $directory;
    $path = '' if $path eq '/';
    walk("$path/$_", $device) for @names;
}

for my $pattern (@ARGV) {
    for my $place (glob $pattern) {
        my @found = lstat $place or next;
        walk($place, $found[0]);
    }
}
print scalar(keys %needles), " looked for in $files files\n";
