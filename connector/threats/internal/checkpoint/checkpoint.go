// SPDX-License-Identifier: Apache-2.0

// Package checkpoint keeps the state of the rules in a storage extension, so that a restart
// neither forgets nor repeats.
package checkpoint

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
)

// version of the format. What has another is not read.
const version = 2

// ErrVersion is why a state is not read.
var ErrVersion = errors.New("the saved state has another version")

const metaKey = "meta"

// part is how many entries are stored under one key.
const part = 1024

type meta struct {
	Version int
	Parts   int
}

// Save stores a state, all of it or nothing where the storage has transactions.
func Save(ctx context.Context, client storage.Client, s *engine.State) error {
	before, err := readMeta(ctx, client)
	if err != nil {
		return err
	}
	pieces := split(s)
	var ops []*storage.Operation
	put := func(key string, value any) error {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(value); err != nil {
			return fmt.Errorf("encode %s: %w", key, err)
		}
		ops = append(ops, storage.SetOperation(key, b.Bytes()))
		return nil
	}
	for i := range pieces {
		if err := put(partKey(i), &pieces[i]); err != nil {
			return err
		}
	}
	for i := len(pieces); i < before.Parts; i++ {
		ops = append(ops, storage.DeleteOperation(partKey(i)))
	}
	if err := put(metaKey, &meta{version, len(pieces)}); err != nil {
		return err
	}
	if err := client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("store the state: %w", err)
	}
	return nil
}

func partKey(i int) string { return "part/" + strconv.Itoa(i) }

// split makes pieces of a state. The first has what is there once.
func split(s *engine.State) []engine.State {
	pieces := []engine.State{{Key: s.Key, Clock: s.Clock}}
	for chunk := range slices.Chunk(s.Sources, part) {
		pieces = append(pieces, engine.State{Sources: chunk})
	}
	for chunk := range slices.Chunk(s.Sights, part) {
		pieces = append(pieces, engine.State{Sights: chunk})
	}
	for chunk := range slices.Chunk(s.Services, part) {
		pieces = append(pieces, engine.State{Services: chunk})
	}
	for chunk := range slices.Chunk(s.Identities, part) {
		pieces = append(pieces, engine.State{Identities: chunk})
	}
	for chunk := range slices.Chunk(s.Findings, part) {
		pieces = append(pieces, engine.State{Findings: chunk})
	}
	return pieces
}

// Load returns what was stored; nil if nothing was.
func Load(ctx context.Context, client storage.Client) (*engine.State, error) {
	m, err := readMeta(ctx, client)
	if err != nil || m.Parts == 0 {
		return nil, err
	}
	if m.Version != version {
		return nil, fmt.Errorf("%w: %d, not %d", ErrVersion, m.Version, version)
	}
	all := &engine.State{}
	for i := range m.Parts {
		var piece engine.State
		if err := read(ctx, client, partKey(i), &piece); err != nil {
			return nil, err
		}
		all.Key |= piece.Key
		all.Clock = max(all.Clock, piece.Clock)
		all.Sources = append(all.Sources, piece.Sources...)
		all.Sights = append(all.Sights, piece.Sights...)
		all.Services = append(all.Services, piece.Services...)
		all.Identities = append(all.Identities, piece.Identities...)
		all.Findings = append(all.Findings, piece.Findings...)
	}
	return all, nil
}

// readMeta is empty if nothing was stored.
func readMeta(ctx context.Context, client storage.Client) (meta, error) {
	var m meta
	err := read(ctx, client, metaKey, &m)
	if errors.Is(err, errMissing) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, err
	}
	// A damaged number must not cost memory.
	if m.Parts < 0 || m.Parts > 1<<16 {
		return meta{}, fmt.Errorf("the saved state has %d parts", m.Parts)
	}
	return m, nil
}

var errMissing = errors.New("missing")

func read(ctx context.Context, client storage.Client, key string, to any) error {
	value, err := client.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if value == nil {
		return fmt.Errorf("read %s: %w", key, errMissing)
	}
	if err := gob.NewDecoder(bytes.NewReader(value)).Decode(to); err != nil {
		return fmt.Errorf("decode %s: %w", key, err)
	}
	return nil
}
