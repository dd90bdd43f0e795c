// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
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

// moment reads /proc, so it must be called without mu.
func (k *keeper) moment() blocks.Moment {
	return blocks.Moment{Boot: saved.BootID(), Now: k.host.boot(), Wall: k.host.wall()}
}

// load puts back the blocks of a former run, each with the time that is left, and who was served
// well. A state that can't be read is none.
func (k *keeper) load(ctx context.Context, host component.Host) (err error) {
	if k.cfg.Storage == nil {
		return nil
	}
	if k.client, err = saved.Open(ctx, host, *k.cfg.Storage, k.set.ID); err != nil {
		return err
	}
	now := k.moment()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, part := range []struct {
		key, lost string
		restore   func([]byte) error
	}{
		// The trials come first: blocks made in them don't hold.
		{saved.Watched, "models begin their trial again", k.intake.RestoreWatched},
		{saved.Served, "who was served well before is not known", func(state []byte) error { return saved.Restore(state, now, k.intake.Restore) }},
		{saved.Key, "begin without the former blocks", func(state []byte) error { return k.restore(state, now) }},
	} {
		state, err := k.client.Get(ctx, part.key)
		if err == nil && state != nil {
			err = part.restore(state)
		}
		if err != nil {
			k.set.Logger.Warn(part.lost, zap.Error(err))
		}
	}
	return nil
}

// restore puts the blocks back. The caller holds mu.
func (k *keeper) restore(state []byte, now blocks.Moment) error {
	k.intake.Trials(now.Now)
	mode, state := saved.Split(state)
	back, err := k.table.Restore(state, now, k.restored(mode))
	if err != nil {
		return err
	}
	k.set.Logger.Info("blocks of a former run hold on", zap.String("mode", mode),
		zap.Int("blocks", back.Blocks), zap.Int("expired", back.Expired), zap.Int("refused", back.Refused))
	// So that the mode of now is stored with them.
	k.changed = true
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

// knownEvery is how often it is stored who was served well, and for how long models were watched.
const knownEvery = time.Minute

// saveKnown stores that, unless it was done a moment ago.
func (k *keeper) saveKnown(ctx context.Context, every time.Duration) {
	now := k.moment()
	k.mu.Lock()
	if k.client == nil || k.table == nil || now.Now-k.stored < every {
		k.mu.Unlock()
		return
	}
	k.stored = now.Now
	served, watched := k.intake.Served(now.Now), k.intake.Watched()
	k.mu.Unlock()
	var err, other error
	if served != nil {
		err = k.client.Set(ctx, saved.Served, saved.At(now, served))
	}
	if watched != nil {
		other = k.client.Set(ctx, saved.Watched, watched)
	}
	if err = errors.Join(err, other); err != nil {
		k.set.Logger.Warn("what is known of sources and models was not stored", zap.Error(err))
	}
}

// save stores the blocks if they changed.
func (k *keeper) save(ctx context.Context) {
	if k.client == nil {
		return
	}
	now := k.moment()
	k.mu.Lock()
	if !k.changed || k.table == nil {
		k.mu.Unlock()
		return
	}
	k.changed = false
	// A kernel that refuses the guard for once makes no dry run of blocks that held.
	state := saved.Join(k.cfg.Mode, k.table.Snapshot(now, outlives))
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
