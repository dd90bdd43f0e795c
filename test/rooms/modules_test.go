// SPDX-License-Identifier: Apache-2.0

package rooms

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestModules holds what a collector gets with this module's components to a list. What tests,
// dashboards and rule sets need stays in modules of their own.
func TestModules(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".", "./receiver/...", "./connector/...")
	cmd.Dir, cmd.Stderr = top, os.Stderr
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	text, err := cmd.Output()
	require.NoError(t, err)
	got := strings.Fields(string(text))
	slices.Sort(got)
	got = slices.DeleteFunc(slices.Compact(got), func(path string) bool { return path == module })
	text, err = os.ReadFile("testdata/modules.txt")
	require.NoError(t, err)
	assert.Equal(t, strings.Fields(string(text)), got, "testdata/modules.txt lists other modules")
}
