package redisstore

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	s := &Store{}
	for version, ok := range map[string]bool{
		"6.2.0": true, "6.10.1": true, "7.0.15": true, "10.0": true,
		"6.0.16": false, "5.9.9": false, "": false, "6": false, "x.y": false,
	} {
		err := s.judge(parseInfo("# Server\r\nredis_version:" + version + "\r\nmaxmemory_policy:noeviction\r\n"))
		require.Equal(t, ok, err == nil, "%s: %v", version, err)
	}
}

// A code that says that nothing was done is told from every other error.
func TestRefusals(t *testing.T) {
	const codes = "READONLY LOADING CLUSTERDOWN OOM NOREPLICAS NOAUTH WRONGPASS MASTERDOWN MISCONF"
	for code := range strings.FieldsSeq(codes) {
		advice, is := refusals(code)
		require.True(t, is, code)
		require.NotEmpty(t, advice, code)
	}
	for code := range strings.FieldsSeq("NOPERM ERR WRONGTYPE BUSY TRYAGAIN NOSCRIPT UNKILLABLE") {
		_, is := refusals(code)
		require.False(t, is, code)
	}
}

// The goroutine that looks at the settings again ends with Close.
func TestCheckRepeatedly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{cfg: Config{OnProblem: func(error) { t.Error(errors.New("nothing was checked yet")) }}}
		s.checkRepeatedly()
		synctest.Wait()
		s.stop()
		s.looking.Wait()
	})
}

// An error of the server is known by its code only: the rest may repeat a key.
func TestCodeOf(t *testing.T) {
	for text, want := range map[string]string{
		"READONLY You can't write against a read only replica.": "READONLY",
		"OOM": "OOM",
		"The user executing the script can't run this command": "ERR",
		"": "ERR",
		"unknown command 'GET', with args beginning with: 'key'": "ERR",
	} {
		require.Equal(t, want, codeOf(text), text)
	}
}
