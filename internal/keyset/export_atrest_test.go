package keyset

// What only tests call from outside.
var (
	RecoverPanics = recoverPanics
	Attach        = attach
)

const MinIterations = minIterations

// Encrypt makes an encrypted key file of any text.
func Encrypt(passphrase, key, text []byte) ([]byte, error) {
	return protection{passphrase, key}.encrypt(text)
}

// Decrypt opens an encrypted key file.
func Decrypt(passphrase, key, data []byte) ([]byte, error) {
	return protection{passphrase, key}.decrypt(data)
}

// Iterations is how much work an encrypted key file asks for, or 0 if none.
func Iterations(token string) (int64, error) {
	h, err := parseFileHeader(token)
	return h.iterations, err
}
