# Runs a verifier of this directory for the tests: bash run.bash FILE. For each
# token on a line of its input it prints "ok SUB" or "no REASON".
export CURL_CA_BUNDLE=$CA_FILE
. "$1"

while read -r token; do
    if verify "$token" 2>"$keys.err"; then
        echo "ok $sub"
    else
        echo "no" $(<"$keys.err")
    fi
done
rm -f "$keys.err"
