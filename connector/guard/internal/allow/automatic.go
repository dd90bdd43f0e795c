// SPDX-License-Identifier: Apache-2.0

package allow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
)

// Always is what every host allows.
func Always() []Entry {
	return []Entry{
		{netip.MustParsePrefix("127.0.0.0/8"), Loopback, ""},
		{netip.MustParsePrefix("::1/128"), Loopback, ""},
		{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal, ""},
		{netip.MustParsePrefix("fe80::/10"), LinkLocal, ""},
	}
}

// maxResolvers is how many name servers of one file are allowed. The C library uses three.
const maxResolvers = 16

// Resolvers reads the name servers of a file like /etc/resolv.conf. Name is that of the file.
func Resolvers(from io.Reader, name string) ([]Entry, error) {
	var entries []Entry
	lines := bufio.NewScanner(io.LimitReader(from, 1<<16))
	for lines.Scan() && len(entries) < maxResolvers {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			entries = append(entries, Entry{address.Of(addr), Resolver, name})
		}
	}
	if err := lines.Err(); err != nil {
		return entries, fmt.Errorf("read name servers of %s: %w", name, err)
	}
	return entries, nil
}

// KubernetesAPI is the API server of a pod's environment, if there is one.
func KubernetesAPI(getenv func(string) string) []Entry {
	addr, err := netip.ParseAddr(getenv("KUBERNETES_SERVICE_HOST"))
	if err != nil {
		return nil
	}
	return []Entry{{address.Of(addr), Kubernetes, "KUBERNETES_SERVICE_HOST"}}
}

// Lookup finds the addresses of a host, as net.Resolver.LookupNetIP does.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// maxAddresses is how many addresses of one peer are allowed.
const maxAddresses = 64

// Peers are the collector's own: hosts, host:port pairs or URLs. Those that could not be resolved are
// in the error and keep the addresses that they have in previous.
func Peers(ctx context.Context, lookup Lookup, endpoints []string, previous []Entry) ([]Entry, error) {
	var entries []Entry
	var faults []error
	for _, endpoint := range endpoints {
		found, err := peer(ctx, lookup, endpoint)
		if err != nil {
			faults = append(faults, fmt.Errorf("resolve peer %q: %w", endpoint, err))
			for _, e := range previous {
				if e.Detail == endpoint {
					entries = append(entries, e)
				}
			}
			continue
		}
		for _, addr := range found[:min(len(found), maxAddresses)] {
			entries = append(entries, Entry{address.Of(addr), Peer, endpoint})
		}
	}
	return entries, errors.Join(faults...)
}

func peer(ctx context.Context, lookup Lookup, endpoint string) ([]netip.Addr, error) {
	host := Host(endpoint)
	if host == "" {
		return nil, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return lookup(ctx, "ip", host)
}

// Host is the host of an endpoint. It is empty for what has none, such as a Unix socket.
func Host(endpoint string) string {
	if strings.HasPrefix(endpoint, "unix:") || strings.HasPrefix(endpoint, "/") {
		return ""
	}
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil {
			return ""
		}
		if u.Host == "" {
			// A target of gRPC, such as dns:///host:port.
			return Host(strings.TrimLeft(u.Path, "/"))
		}
		return u.Hostname()
	}
	if host, _, err := net.SplitHostPort(endpoint); err == nil {
		return host
	}
	return strings.Trim(endpoint, "[]")
}
