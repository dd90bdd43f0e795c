// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilesOfLiterals(t *testing.T) {
	write := func(text string) []string {
		name := filepath.Join(t.TempDir(), "list")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return []string{name}
	}
	set, err := readLiterals(write("# a comment\n\njndi ${jndi:\nspaces \t a b \nbytes \"\\x00\\\"\"\n"))
	require.NoError(t, err)
	require.Equal(t, 3, set.Len())
	assert.Equal(t, []int32{0, 1, 2}, set.Search("${jndi: a b \x00\"", nil))
	none, err := readLiterals(nil)
	require.NoError(t, err)
	assert.Nil(t, none)
	for text, fault := range map[string]string{
		"name\n":        "has no string",
		"name \"open\n": "not a string in double quotes",
		"name \"\"\n":   "a string of 0 bytes",
	} {
		_, err := readLiterals(write(text))
		require.ErrorContains(t, err, fault)
		require.ErrorContains(t, err, "rules::literal_signature::files[0]")
		require.ErrorContains(t, err, "line 1")
	}
	_, err = readLiterals([]string{"/nowhere/at/all"})
	require.ErrorContains(t, err, "files[0]")
}
