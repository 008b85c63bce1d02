package secret_test

import (
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/secret"
)

func raw() []byte {
	return []byte{7, 200, 31, 99, 4, 5, 250, 17, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
		27, 28, 29, 30, 254}
}

func TestKey(t *testing.T) {
	raw := string(raw())
	std, url := base64.StdEncoding.EncodeToString([]byte(raw)), base64.RawURLEncoding.EncodeToString([]byte(raw))
	for text, want := range map[string]bool{
		raw: true, std: true, std + "\n": true, " " + strings.TrimRight(std, "="): true, url: true, url + "=": true,
		hex.EncodeToString([]byte(raw)): true, strings.ToUpper(hex.EncodeToString([]byte(raw))): true,
		raw[:31]: false, raw + "\n": false, url[:42]: false, std + "==": false, std[:42] + "d=": false,
		"0x" + hex.EncodeToString([]byte(raw)): false, "hunter2": false, "": false,
	} {
		key, ok := secret.Key([]byte(text), secret.KeySize)
		require.Equal(t, want, ok, "%q", text)
		if want {
			require.Equal(t, raw, string(key))
		}
	}
}

// What is certainly a name is repeated, and what may be a secret is not.
func TestNames(t *testing.T) {
	std := base64.StdEncoding.EncodeToString(raw())
	for text, want := range map[string]bool{
		"/run/secrets/kek": true, "./kek": true, "../prod/passphrase.txt": true, "/etc/cloakroom/production/k.js": true,
		"/etc/cloakroom/production/kek.js": true,
		"/" + std[1:]:                      false, std: false, "kek": false, "hunter2": false, "/run/q8HxV2mGt5Lw": false,
		"/correct horse\nbattery": false, "/\x1b[2J": false, "/pass(word)": false, "": false,
		"/" + strings.Repeat("x", 40) + "=": false,
	} {
		require.Equal(t, want, secret.Path(text) == text && text != "", "%q", text)
	}
	path := filepath.Join(t.TempDir(), "q8HxV2mGt5Lw")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.Equal(t, path, secret.Path(path), "it is there")
	for text, want := range map[string]bool{
		"CLOAKROOM_KEK": true, "SESSION_KEY_2": true, "A_B": true,
		"KEK": false, "kek": false, "hunter2": false, "Session_Key": false, strings.ToUpper(hex.EncodeToString(raw())): false,
		std: false, "CORRECTHORSEBATTERY": false, "A_": false, "": false,
	} {
		require.Equal(t, want, secret.Variable(text) == text && text != "", "%q", text)
	}
}

func TestIsContent(t *testing.T) {
	for text, want := range map[string]bool{
		`{"keys":[]}`: true, " \n{": true, "-----BEGIN PRIVATE KEY-----\nMC4": true, "eyJhbGciOiJkaXIifQ.a.b.c.d": true,
		"a\nb":      true,
		"keys.json": false, "/etc/app/keys.json": false, "": false, "C:\\keys.json": false,
	} {
		require.Equal(t, want, secret.IsContent(text), "%q", text)
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("SECRET_TEST", "x")
	text, err := secret.Env("SECRET_TEST")
	require.NoError(t, err)
	require.Equal(t, "x", string(text))
	_, err = secret.Env("SECRET_TEST_NONE")
	require.EqualError(t, err, "the environment variable SECRET_TEST_NONE is not set")
	for _, name := range []string{"hunter2", "", "A=B", "A\x00"} {
		_, err = secret.Env(name)
		require.ErrorContains(t, err, "the environment variable that it names is not set")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kek")
	write := func(content string, mode fs.FileMode) {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	for _, mode := range []fs.FileMode{0o400, 0o600, 0o440, 0o640, 0o700} {
		write("hunter2\n", mode)
		text, err := secret.ReadFile(path)
		require.NoError(t, err, "%04o", mode)
		require.Equal(t, "hunter2\n", string(text))
		require.NoError(t, os.Remove(path))
	}
	for _, mode := range []fs.FileMode{0o644, 0o604, 0o660, 0o602, 0o601} {
		if runtime.GOOS == "windows" {
			break
		}
		write("hunter2", mode)
		_, err := secret.ReadFile(path)
		require.ErrorIs(t, err, secret.ErrUnsafe, "%04o", mode)
		require.ErrorContains(t, err, "run: chmod 600 "+path)
		require.NoError(t, os.Remove(path))
	}
	for content, want := range map[string]string{"": "it is empty", "\r\n": "it is empty",
		strings.Repeat("x", 4097): "over 4096 bytes"} {
		write(content, 0o600)
		_, err := secret.ReadFile(path)
		require.ErrorContains(t, err, want)
	}
	for _, name := range []string{"hunter2hunter2", "hunter2\x00", strings.Repeat("hunter2", 100),
		"/" + base64.StdEncoding.EncodeToString(raw())[1:]} {
		_, err := secret.ReadFile(name)
		require.ErrorContains(t, err, "open the file that it names, which is not repeated here")
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), name)
	}
	_, err := secret.ReadFile("/run/secrets/none")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "/run/secrets/none")
}
