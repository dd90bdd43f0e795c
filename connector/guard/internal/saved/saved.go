// SPDX-License-Identifier: Apache-2.0

// Package saved keeps the blocks in a storage extension, so that they outlive a restart.
package saved

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// Key of the blocks.
const Key = "blocks"

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
