# Needs bash, curl and latchset's jose.
keys=$(mktemp)
trap 'rm -f "$keys"' EXIT
fetched=0

# fetch fetches the issuer's keys every 30 seconds.
fetch() {
    printf -v now '%(%s)T'
    [ $((now - fetched)) -ge 30 ] || return 0
    curl -sSf --max-time 5 -o "$keys" "$JWKS_URL" && fetched=$now
}

# verify sets sub to the user that the token $1 identifies, and fails if the
# token is not good.
verify() {
    local claims header iss aud exp typ alg
    fetch && claims=$(printf %s "$1" | jose jws ver -i- -k "$keys" -O-) || return 1
    header=$(printf %s "${1%%.*}" | jose b64 dec -i-) || return 1
    { read -r typ && read -r alg; } < <(jose fmt -j- -g typ -u- -U -g alg -u- <<<"$header")
    exp=$(jose fmt -j- -g exp -o- <<<"$claims") || return 1
    { read -r iss && read -r aud && read -r -d '' sub; } < <(
        jose fmt -j- -g iss -u- -U -g aud -u- -U -g sub -u- <<<"$claims"
    )
    sub=${sub%$'\n'}
    [ "$typ $alg" = "at+jwt ES256" ] && [ "$iss" = "$ISSUER" ] && [ "$aud" = "$AUDIENCE" ] &&
        [ "$exp" -gt $((now - 10)) ] && [ -n "$sub" ]
}
