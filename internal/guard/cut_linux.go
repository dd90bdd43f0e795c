// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package guard

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// The ways to end connections: a program since 6.5, else a request for each of them, which
// kernels may be built without.
const (
	byIterator = "iter/tcp"
	bySockDiag = "sock_diag"
)

// cutter ends connections by a program.
type cutter struct {
	objects *ebpf.Collection
}

// newCutter loads the program with the maps of the guard.
func (g *Guard) newCutter() (*cutter, error) {
	spec, err := loadCut()
	if err != nil {
		return nil, fmt.Errorf("read the object that ends connections: %w", err)
	}
	if err := spec.Variables[guardVarPrefix6].Set(halves(mask6(g.options.IPv6Prefix))); err != nil {
		return nil, fmt.Errorf("set the prefix of the program that ends connections: %w", err)
	}
	replacements := shared.MapsOf(spec, g.objects.Maps)
	replacements[stateTable] = g.objects.Maps[stateTable]
	objects, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements})
	if err != nil {
		return nil, fmt.Errorf("load the program that ends connections: %w", explain(err))
	}
	return &cutter{objects}, nil
}

// run ends connections of the thread's network namespace.
func (c *cutter) run() error {
	iterator, err := link.AttachIter(link.IterOptions{Program: c.objects.Programs["cut"]})
	if err != nil {
		return fmt.Errorf("attach the program that ends connections: %w", err)
	}
	defer iterator.Close()
	stream, err := iterator.Open()
	if err != nil {
		return fmt.Errorf("run the program that ends connections: %w", err)
	}
	defer stream.Close()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return fmt.Errorf("run the program that ends connections: %w", err)
	}
	return nil
}

func (c *cutter) destroyed() (n uint64, err error) {
	if err := c.objects.Variables["destroyed"].Get(&n); err != nil {
		return 0, fmt.Errorf("count the ended connections: %w", err)
	}
	return n, nil
}

// CutsBy returns the way in which Cut ends connections. The error says what stands in the way
// of the program, or why nothing can be ended, if the way is empty.
func (g *Guard) CutsBy() (way string, err error) {
	g.cutting.Lock()
	defer g.cutting.Unlock()
	return g.chooseCut()
}

// chooseCut needs the lock of cutting, as all below.

func (g *Guard) chooseCut() (string, error) {
	if g.cutter != nil {
		return byIterator, nil
	}
	var err error
	if g.cutter, err = g.newCutter(); err == nil {
		return byIterator, nil
	}
	if other := canDestroy(); other != nil {
		return "", errors.Join(err, other)
	}
	return bySockDiag, err
}

// Cut ends the open connections of all sources whose packets are dropped, in the network
// namespaces of all processes that may be entered. It returns how many it ended. An error
// may concern some namespaces only. Blocks may change meanwhile.
func (g *Guard) Cut() (ended int, err error) {
	g.cutting.Lock()
	defer g.cutting.Unlock()
	g.mu.Lock()
	none := g.count == 0
	g.mu.Unlock()
	if none {
		return 0, nil
	}
	way, err := g.chooseCut()
	if way == "" {
		return 0, err
	}
	var before uint64
	if way == byIterator {
		if before, err = g.cutter.destroyed(); err != nil {
			return 0, err
		}
	}
	var all error
	for _, path := range netns.Find([]string{netns.ThreadFile, "/run/netns/*", "/proc/[0-9]*/ns/net"}) {
		n, err := g.cutIn(path, way)
		ended += n
		all = errors.Join(all, err)
	}
	if way == byIterator {
		after, err := g.cutter.destroyed()
		ended, all = int(after-before), errors.Join(all, err)
	}
	return ended, all
}

// cutIn skips a namespace that has ended meanwhile.
func (g *Guard) cutIn(path, way string) (ended int, err error) {
	namespace, err := netns.Open(path)
	if err != nil {
		return 0, nil
	}
	defer namespace.Close()
	err = namespace.Run(func() error {
		if way == byIterator {
			return g.cutter.run()
		}
		var err error
		ended, err = destroyIf(g.drops)
		return err
	})
	if err != nil {
		return ended, fmt.Errorf("end connections in %s: %w", path, err)
	}
	return ended, nil
}
