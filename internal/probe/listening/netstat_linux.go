// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxOwnersAsked bounds the processes of a namespace that are tried; most are inside.
const maxOwnersAsked = 8

// readNamespace reads a namespace's counters from any process inside: the own one, or one that
// owns a listener, by socket. To see the namespace of another user's process takes
// CAP_SYS_PTRACE.
func readNamespace(netns, own uint32, owners map[uint64]uint32) (string, error) {
	if netns == own {
		return readNetstat("/proc/thread-self", netns)
	}
	all := []error{fmt.Errorf("read the counters of network namespace %d", netns)}
	asked := make(map[uint32]bool)
	for _, pid := range owners {
		if pid == 0 || asked[pid] {
			continue
		}
		if len(asked) == maxOwnersAsked {
			break
		}
		asked[pid] = true
		data, err := readNetstat("/proc/"+strconv.FormatUint(uint64(pid), 10), netns)
		if err == nil {
			return data, nil
		}
		all = append(all, err)
	}
	return "", errors.Join(all...)
}

// readNetstat reads through one descriptor of the process's folder. A later process with the
// same pid is not reached by it.
func readNetstat(process string, netns uint32) (string, error) {
	folder, err := unix.Open(process, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", process, err)
	}
	defer unix.Close(folder)
	if err := isIn(folder, netns); err != nil {
		return "", fmt.Errorf("%s: %w", process, err)
	}
	fd, err := unix.Openat(folder, "net/netstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s/net/netstat: %w", process, err)
	}
	file := os.NewFile(uintptr(fd), "netstat")
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		return "", fmt.Errorf("read %s/net/netstat: %w", process, err)
	}
	// It may have moved meanwhile.
	if err := isIn(folder, netns); err != nil {
		return "", fmt.Errorf("%s: %w", process, err)
	}
	return string(data), nil
}

func isIn(process int, netns uint32) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(process, "ns/net", &stat, 0); err != nil {
		return fmt.Errorf("identify its network namespace: %w", err)
	}
	if uint32(stat.Ino) != netns {
		return errors.New("it is in another network namespace")
	}
	return nil
}

// netstatValue finds one of TcpExt: a line of names is before the line of values.
func netstatValue(data, name string) (uint64, error) {
	var names []string
	for line := range strings.Lines(data) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name && i < len(fields) {
				value, err := strconv.ParseUint(fields[i], 10, 64)
				if err != nil {
					return 0, fmt.Errorf("read %s: %w", name, err)
				}
				return value, nil
			}
		}
	}
	return 0, fmt.Errorf("no %s in netstat", name)
}
