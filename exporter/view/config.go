// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/confmap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/strict"
)

// Config is the exporter's configuration: that of an HTTP server, and the page's.
type Config struct {
	// HTTP has the address. One that other hosts reach needs auth. It is not embedded, because its
	// method Unmarshal would be that of this structure, and read none of the keys below.
	HTTP confighttp.ServerConfig `mapstructure:",squash"`
	Page PageConfig              `mapstructure:",squash"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// PageConfig is what is the page's own.
type PageConfig struct {
	// Hosts are names under which browsers may ask for the page, beside localhost, the endpoint's
	// own and addresses. Others are refused: a page of somebody else's could have its name point
	// to this host, and read what is shown (DNS rebinding).
	Hosts []string `mapstructure:"hosts"`
	// MaxViewers may look at one time.
	MaxViewers int `mapstructure:"max_viewers"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// Defaults.
const (
	defaultEndpoint   = "localhost:9466"
	defaultMaxViewers = 16
	mostViewers       = 1000
)

func createDefaultConfig() *Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Endpoint = defaultEndpoint
	return &Config{HTTP: server, Page: PageConfig{MaxViewers: defaultMaxViewers}}
}

// Unmarshal gives each part its keys. Squashed parts would ignore a key that nobody knows. It
// implements confmap.Unmarshaler.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	server, own := conf.ToStringMap(), map[string]any{}
	for _, key := range []string{"hosts", "max_viewers"} {
		if value, ok := server[key]; ok {
			own[key] = value
			delete(server, key)
		}
	}
	// The server's own Unmarshal ignores them, too. A type without it does not.
	type keys confighttp.ServerConfig
	return errors.Join(
		strict.Unmarshal(confmap.NewFromStringMap(own), &c.Page),
		confmap.NewFromStringMap(server).Unmarshal(&keys{}),
		confmap.NewFromStringMap(server).Unmarshal(&c.HTTP))
}

// Validate implements xconfmap.Validator.
func (p *PageConfig) Validate() error {
	if p.MaxViewers < 1 || p.MaxViewers > mostViewers {
		return fmt.Errorf("max_viewers: %d is not from 1 to %d", p.MaxViewers, mostViewers)
	}
	return nil
}

// Validate refuses what would show this host's traffic to others unasked.
func (c *Config) Validate() error {
	if c.HTTP.NetAddr.Transport == confignet.TransportTypeUnix {
		return nil
	}
	host, _, err := net.SplitHostPort(c.HTTP.NetAddr.Endpoint)
	switch {
	case err != nil:
		return fmt.Errorf("endpoint: %w", err)
	case !c.HTTP.Auth.HasValue() && !isLoopback(host):
		return fmt.Errorf(
			"endpoint: other hosts reach %s, and the page shows who connects to this one: set auth, or listen at localhost",
			c.HTTP.NetAddr.Endpoint)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
