// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/saved"
)

// saveEvery is how soon a change is stored.
const saveEvery = 2 * time.Second

// outlives tells which blocks are stored. Those of files come back with the files.
func outlives(o blocks.Origin) bool { return o.Kind == blocks.Rule || o.Kind == blocks.Operator }

// restored tells which of them are put back: not those of rules that may block no longer.
func (k *keeper) restored(o blocks.Origin) bool {
	return outlives(o) && (o.Kind != blocks.Rule || slices.Contains(k.cfg.Rules, o.Name))
}

func (k *keeper) moment() blocks.Moment {
	return blocks.Moment{Boot: saved.BootID(), Now: k.host.boot(), Wall: k.host.wall()}
}

// load puts back the blocks of a former run, each with the time that is left. A state that can't
// be read is none.
func (k *keeper) load(ctx context.Context, host component.Host) (err error) {
	if k.cfg.Storage == nil {
		return nil
	}
	if k.client, err = saved.Open(ctx, host, *k.cfg.Storage, k.set.ID); err != nil {
		return err
	}
	state, err := k.client.Get(ctx, saved.Key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && state != nil {
		var back blocks.Restored
		if back, err = k.table.Restore(state, k.moment(), k.restored); err == nil {
			k.set.Logger.Info("blocks of a former run hold on", zap.Int("blocks", back.Blocks), zap.Int("expired", back.Expired), zap.Int("refused", back.Refused))
		}
	}
	if err != nil {
		k.set.Logger.Warn("begin without the former blocks", zap.Error(err))
	}
	return nil
}

// enter puts all blocks of the table into the kernel, with what is known by now. The caller
// holds mu.
func (k *keeper) enter(which func(key []blocks.Block) bool) {
	now := k.host.boot()
	for key, held := range k.table.All() {
		if !which(held) {
			continue
		}
		until := time.Duration(0)
		for i := range held {
			until = max(until, held[i].Until)
		}
		k.note("block a source", k.put(key, until, now))
	}
}

// save stores the blocks if they changed.
func (k *keeper) save(ctx context.Context) {
	if k.client == nil {
		return
	}
	k.mu.Lock()
	if !k.changed || k.table == nil {
		k.mu.Unlock()
		return
	}
	k.changed = false
	state := k.table.Snapshot(k.moment(), outlives)
	k.mu.Unlock()
	if err := k.client.Set(ctx, saved.Key, state); err != nil {
		k.mu.Lock()
		k.changed = true
		k.mu.Unlock()
		k.set.Logger.Warn("the blocks were not stored", zap.Error(err))
	}
}

func (k *keeper) closeStorage(ctx context.Context) error {
	if k.client == nil {
		return nil
	}
	err := k.client.Close(ctx)
	k.client = nil
	if err != nil {
		return fmt.Errorf("storage: close: %w", err)
	}
	return nil
}
