// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"reflect"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
)

const (
	// Memory of the machine for each connection and for each byte of the ring buffer. The sizes
	// reach their maximum at 8 GiB, so that the defaults never take more than docs/limits.md
	// says.
	memoryPerConnection               = 64 << 10
	leastConnections, mostConnections = 4 << 10, 128 << 10
	memoryPerRingByte                 = 512
	leastRingBytes, mostRingBytes     = 1 << 20, 16 << 20
)

// sized replaces limits of 0 by sizes that depend on the memory of the machine, or of the
// cgroup if that has a lower limit.
func (l LimitsConfig) sized(root fs.FS) LimitsConfig {
	memory, err := totalMemory(root)
	if err != nil {
		memory = math.MaxUint64 // the greatest sizes
	}
	// The kernel's maps are charged to the cgroup.
	if _, limit := capability.MemoryLimit(root); limit != 0 {
		memory = min(memory, limit)
	}
	if l.Connections == 0 {
		l.Connections = share(memory, memoryPerConnection, leastConnections, mostConnections)
	}
	if l.RingBytes == 0 {
		l.RingBytes = share(memory, memoryPerRingByte, leastRingBytes, mostRingBytes)
	}
	return l
}

// share returns the greatest power of two that memory has room for, between least and most.
func share(memory, each uint64, least, most int) int {
	n := memory / each
	switch {
	case n <= uint64(least):
		return least
	case n >= uint64(most):
		return most
	default:
		return 1 << (bits.Len64(n) - 1)
	}
}

// totalMemory returns the machine's memory in bytes.
func totalMemory(root fs.FS) (uint64, error) {
	file, err := root.Open("proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("open the size of the memory: %w", err)
	}
	defer file.Close()
	var kibibytes uint64
	if _, err := fmt.Fscanf(file, "MemTotal: %d kB", &kibibytes); err != nil {
		return 0, fmt.Errorf("read the size of the memory: %w", err)
	}
	return kibibytes << 10, nil
}

// log logs the limits in effect and the size of the kernel's maps.
func (l *LimitsConfig) log(logger *zap.Logger, k pipeline.Kernel) {
	bytes, err := k.MapBytes()
	if err != nil {
		logger.Warn("the size of the kernel's maps is unknown", zap.Error(err))
	}
	logger.Info("limits in effect", append(l.fields(), zap.Uint64("kernel_map_bytes", bytes))...)
}

// fields are the limits by their keys.
func (l *LimitsConfig) fields() []zap.Field {
	var fields []zap.Field
	for field, value := range reflect.ValueOf(l).Elem().Fields() {
		if key := field.Tag.Get("mapstructure"); key != "" {
			fields = append(fields, zap.Int64(key, value.Int()))
		}
	}
	return fields
}
