// SPDX-License-Identifier: Apache-2.0

// Package saved keeps the blocks in a storage extension, so that they outlive a restart.
package saved

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
)

// Keys of the storage: of the blocks, of the sources that were served well, and of how long models
// were watched.
const (
	Key     = "blocks"
	Served  = "served"
	Watched = "watched"
)

// Join puts the mode in which blocks were made before them, in one value: a kill must not part them.
func Join(mode string, state []byte) []byte { return append([]byte(mode+"\n"), state...) }

// Split takes them apart. Without a mode, it is empty.
func Split(value []byte) (mode string, state []byte) {
	before, after, ok := bytes.Cut(value, []byte("\n"))
	if !ok || len(before) > longestMode {
		return "", value
	}
	return string(before), after
}

// longestMode is more than any has.
const longestMode = 16

// ErrMoment is why a state is not restored.
var ErrMoment = errors.New("the saved state has no moment")

// At puts a moment before a state.
func At(m blocks.Moment, state []byte) []byte {
	return append(fmt.Appendf(nil, "%s %d %d\n", m.Boot, m.Now, m.Wall.UnixNano()), state...)
}

// Restore hands a state over that has a moment, with how much time has passed since.
func Restore(value []byte, now blocks.Moment, restore func(state []byte, passed, now time.Duration) error) error {
	line, state, ok := bytes.Cut(value, []byte("\n"))
	fields := strings.Split(string(line), " ")
	if !ok || len(fields) != 3 {
		return ErrMoment
	}
	boot, err := strconv.ParseInt(fields[1], 10, 64)
	wall, wallErr := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || wallErr != nil {
		return ErrMoment
	}
	then := blocks.Moment{Boot: fields[0], Now: time.Duration(boot), Wall: time.Unix(0, wall)}
	return restore(state, now.Since(then), now.Now)
}

// Open finds the storage extension, and opens what belongs to a connector.
func Open(ctx context.Context, host component.Host, extension, connector component.ID) (storage.Client, error) {
	found, ok := host.GetExtensions()[extension]
	if !ok {
		return nil, fmt.Errorf("storage: there is no extension %q", extension)
	}
	store, ok := found.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: the extension %q stores nothing", extension)
	}
	client, err := store.GetClient(ctx, component.KindConnector, connector, "")
	if err != nil {
		return nil, fmt.Errorf("storage: open %q: %w", extension, err)
	}
	return client, nil
}

// BootID tells boots of the host apart; empty if unknown.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
