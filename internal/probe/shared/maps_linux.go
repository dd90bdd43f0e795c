// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package shared

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Maps describes the maps, with their default sizes.
func Maps() (*ebpf.CollectionSpec, error) {
	spec, err := loadMaps()
	if err != nil {
		return nil, fmt.Errorf("read the object of the shared maps: %w", err)
	}
	return spec, nil
}
