// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"os"
	"path/filepath"
	"testing"
)

// TestThisProcess reads the files of the running kernel.
func TestThisProcess(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatalf("read own stat: %v", err)
	}
	_, start, ok := parseStat(string(data))
	if !ok {
		t.Fatalf("own stat was not understood: %s", data)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatalf("find own executable: %v", err)
	}
	key := Key{PID: uint32(os.Getpid()), Start: start*tick + tick/2}
	table := NewTable(Options{FS: os.DirFS("/"), Container: true})
	got := table.Process(key)
	if got == nil || got.Executable != filepath.Base(executable) {
		t.Errorf("got %+v, want %s", got, filepath.Base(executable))
	}
	key.Start += 10 * tick
	if got := table.Process(key); got != nil {
		t.Errorf("got %+v for another start time", *got.Workload)
	}
}
