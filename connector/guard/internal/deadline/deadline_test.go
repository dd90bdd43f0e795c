// SPDX-License-Identifier: Apache-2.0

package deadline

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kernel refuses while err is set. A real one can't be made to.
type kernel struct{ err error }

func (k *kernel) Renew() error   { return k.err }
func (k *kernel) LetPass() error { return k.err }

// TestTellsARefusalOnce: the deadline is renewed twice a second, so each refusal is counted, and only a
// change is logged.
func TestTellsARefusalOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	failed, begun := 0, 0
	k := &kernel{err: errors.New("no such map")}
	d := &Deadline{
		Kernel: k, KillFile: filepath.Join(t.TempDir(), "kill"), Logger: zap.New(core),
		Failed: func() { failed++ }, Begun: func() { begun++ },
	}
	hold := func(times, refusals, told int, holding bool) {
		t.Helper()
		before := failed
		for range times {
			d.Hold()
		}
		assert.Equal(t, refusals, failed-before)
		assert.Len(t, logs.TakeAll(), told)
		assert.Equal(t, holding, d.Holding())
	}
	hold(100, 100, 1, false)
	k.err = nil
	hold(100, 0, 1, true)
	assert.Equal(t, 1, begun)
	k.err = errors.New("no such map")
	hold(100, 100, 2, false) // that everything passes is another thing
	require.NoError(t, os.WriteFile(d.KillFile, nil, 0o600))
	hold(100, 100, 1, false)
	k.err = nil
	hold(100, 0, 1, false)
}
