// SPDX-License-Identifier: Apache-2.0

package packet_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

func text(raw []byte) string {
	var all []string
	for option := range packet.Options(raw) {
		all = append(all, string(option.AppendText(nil)))
	}
	return strings.Join(all, " ")
}

func TestOptions(t *testing.T) {
	for name, test := range map[string]struct{ raw, want string }{
		"none":               {"", ""},
		"Linux SYN":          {"020405b40402080a00000001000000000103 0307", "mss=1460 sackOK ts=1,0 nop ws=7"},
		"SACK":               {"0101050a0000000100000002", "nop nop sack=1-2"},
		"two SACK blocks":    {"0512000000010000000200000003ffffffff", "sack=1-2,3-4294967295"},
		"end, then padding":  {"020405b40002ff", "mss=1460 eol"},
		"MD5":                {"131200112233445566778899aabbccddeeff", "md5=00112233445566778899aabbccddeeff"},
		"AO":                 {"1d040102", "ao=0102"},
		"MPTCP":              {"1e0400 01", "mptcp=0001"},
		"TFO cookie request": {"2202", "fastopen"},
		"TFO cookie":         {"220a0102030405060708", "fastopen=0102030405060708"},
		"unknown":            {"63040a0b", "99=0a0b"},
		"unknown, empty":     {"6302", "99"},
		"wrong MSS length":   {"0203ff", "2=ff"},
		"wrong SACK length":  {"0503ff", "5=ff"},
		"empty SACK":         {"0502", "5"},
		"wrong ws length":    {"0302", "3"},
		"length 0":           {"0200ffff", "2=00ffff!"},
		"length 1":           {"010201ff", "nop 2=01ff!"},
		"length past end":    {"0402 08ff0102", "sackOK 8=ff0102!"},
		"no length":          {"0402 08", "sackOK 8!"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := hex.DecodeString(strings.ReplaceAll(test.raw, " ", ""))
			require.NoError(t, err)
			require.Equal(t, test.want, text(raw))
		})
	}
}

func TestOptionsCanStop(t *testing.T) {
	n := 0
	for range packet.Options([]byte{1, 1, 1}) {
		n++
		break
	}
	require.Equal(t, 1, n)
}

// FuzzOptions: whatever the bytes, the options that are found are the bytes up to the
// end of the list, in order, and none is read past the end.
func FuzzOptions(f *testing.F) {
	for _, seed := range []string{
		"020405b40402080a000000010000000001030307", "0101050a0000000100000002", "0200", "08ff", "08", "1e04",
	} {
		raw, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var again []byte
		for option := range packet.Options(raw) {
			written := option.AppendText([]byte("before "))
			require.True(t, bytes.HasPrefix(written, []byte("before ")))
			require.Greater(t, len(written), len("before "))
			again = append(again, option.Kind)
			if !option.Lying && option.Kind > 1 {
				again = append(again, byte(len(option.Data)+2))
			}
			again = append(again, option.Data...)
		}
		require.True(t, bytes.HasPrefix(raw, again))
		ended := len(again) > 0 && len(again) < len(raw)
		require.False(t, ended && again[len(again)-1] != 0, "only the end of the list stops early")
	})
}

func TestFlagNames(t *testing.T) {
	require.Equal(t, []string{"SYN", "ACK"}, packet.Flags(0x12).Names())
	require.Equal(t, []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}, packet.Flags(0xff).Names())
	require.Empty(t, packet.Flags(0).Names())
}
