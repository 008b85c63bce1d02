use strict;
use warnings;

use Crypt::JWT qw(decode_jwt);
use HTTP::Tiny;
use JSON::PP qw(decode_json);

my ($keys, $fetched) = (undef, 0);

sub fetch {
    my $response = HTTP::Tiny->new(timeout => 5, verify_SSL => 1)->get($ENV{JWKS_URL});
    die "no keys: status $response->{status}\n" unless $response->{success};
    $keys    = decode_json($response->{content});
    $fetched = time;
}

sub knows {
    my ($kid) = @_;
    return grep { ($_->{kid} // '') eq $kid } @{ $keys->{keys} };
}

# find_keys returns the issuer's keys. They are fetched every 5 minutes, and for
# an unknown key ID, but not twice within 10 seconds.
sub find_keys {
    my ($kid) = @_;
    my $age = time - $fetched;
    fetch() if $age > 300 || ($age > 10 && !knows($kid));
    return $keys;
}

# verify returns the claims of a good token (sub is the user), and dies
# otherwise.
sub verify {
    my ($token) = @_;
    my ($header) = decode_jwt(token => $token, ignore_signature => 1, ignore_claims => 1, decode_header => 1);
    die "not an access token\n" unless ($header->{typ} // '') eq 'at+jwt';
    return decode_jwt(
        token        => $token,
        kid_keys     => find_keys($header->{kid} // ''),
        accepted_alg => 'ES256',
        verify_iss   => $ENV{ISSUER},
        verify_aud   => $ENV{AUDIENCE},
        verify_sub   => sub { length $_[0] },
        verify_exp   => 1,
        leeway       => 10,
    );
}

1;
