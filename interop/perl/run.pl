# Runs a verifier of this directory for the tests: perl run.pl FILE. For each
# token on a line of its input it prints "ok SUB" or "no REASON".
use strict;
use warnings;
use File::Spec;

$| = 1;
my $file = File::Spec->rel2abs(shift);
do $file or die $@ || $!;

while (my $token = <STDIN>) {
    chomp $token;
    my $claims = eval { verify($token) };
    my $reason = join ' ', split ' ', $@;
    print $claims ? "ok $claims->{sub}\n" : "no $reason\n";
}
