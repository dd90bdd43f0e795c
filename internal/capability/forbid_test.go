// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

func TestLikelyCause(t *testing.T) {
	const (
		lockdownFile = "sys/kernel/security/lockdown"
		modulesFile  = "sys/kernel/security/lsm"
		statusFile   = "proc/self/status"
	)
	tests := []struct {
		name, want string
		files      map[string]string
	}{
		{"nothing can be seen", "the kernel's build may forbid it; lockdown and security modules can't be seen without securityfs", nil},
		{
			"nothing is in force", "the kernel's build seems to forbid it, for no lockdown, security module or seccomp filter is in force",
			map[string]string{lockdownFile: "[none] integrity confidentiality\n", modulesFile: "lockdown,capability,yama", statusFile: "Seccomp:\t0\n"},
		},
		{
			"lockdown", "kernel lockdown (confidentiality) may forbid it, or the kernel's build",
			map[string]string{lockdownFile: "none integrity [confidentiality]\n", modulesFile: "lockdown,capability"},
		},
		{
			"seccomp and a module", "a seccomp filter or a security module (apparmor) may forbid it, or the kernel's build",
			map[string]string{modulesFile: "lockdown,capability,apparmor\n", statusFile: "Name:\ta\nSeccomp:\t2\nSeccomp_filters:\t1\n"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range test.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			assert.Equal(t, test.want, likelyCause(root))
		})
	}
}
