// SPDX-License-Identifier: Apache-2.0

// ebpf-tcp-doctor prints what the ebpf_tcp receiver supports on this host. It attaches and
// removes every kernel hook that the receiver knows. Then it prints the way to each fact,
// what is missing and why, and the memory of the maps.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"

	"github.com/ebpftcp/ebpftcpreceiver/internal/diagnosis"
	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case !errors.Is(err, errVerdict):
		fmt.Fprintln(os.Stderr, "ebpf-tcp-doctor:", err)
	}
	os.Exit(1)
}

// errVerdict is a failure that the last line of the diagnosis already describes.
var errVerdict = errors.New("this host does not support what is asked for")

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("ebpf-tcp-doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "write JSON")
	config := flags.String("config", "", "collector configuration `file` to diagnose for (default: the receiver's defaults)")
	id := flags.String("receiver", "", "its receiver, such as ebpf_tcp/2, when it has several")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	cfg := receiver.NewFactory().CreateDefaultConfig().(*receiver.Config)
	if *config != "" {
		if err := read(ctx, *config, *id, cfg); err != nil {
			return err
		}
	}
	found, err := receiver.Diagnose(cfg)
	if err != nil && *config != "" {
		err = fmt.Errorf("%s: %w", *config, err)
	}
	if found == nil {
		return err
	}
	if err == nil && found.Error != "" {
		err = errVerdict
	}
	if *asJSON {
		return errors.Join(diagnosis.WriteJSON(stdout, found), err)
	}
	return errors.Join(diagnosis.WriteText(stdout, found), err)
}

// read fills cfg from the receivers section of a collector's configuration.
func read(ctx context.Context, file, id string, cfg *receiver.Config) error {
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs:              []string{"file:" + file},
		ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), envprovider.NewFactory()},
		DefaultScheme:     "env",
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	conf, err := resolver.Resolve(ctx)
	if err = errors.Join(err, resolver.Shutdown(ctx)); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	receivers, err := conf.Sub("receivers")
	if err != nil {
		return fmt.Errorf("read %s: receivers: %w", file, err)
	}
	name, err := choose(slices.Sorted(maps.Keys(receivers.ToStringMap())), id)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	section, err := receivers.Sub(name)
	if err != nil {
		return fmt.Errorf("read %s: receivers::%s: %w", file, name, err)
	}
	if err := section.Unmarshal(cfg); err != nil {
		return fmt.Errorf("read %s: receivers::%s: %w", file, name, err)
	}
	return nil
}

// choose finds the only receiver of our type, or the named one.
func choose(names []string, wanted string) (string, error) {
	var ours []string
	for _, name := range names {
		var id component.ID
		if id.UnmarshalText([]byte(name)) != nil || id.Type() != receiver.NewFactory().Type() {
			continue
		}
		if name == wanted {
			return name, nil
		}
		ours = append(ours, name)
	}
	switch {
	case wanted != "":
		return "", fmt.Errorf("there is no receiver %s of type %s", wanted, receiver.NewFactory().Type())
	case len(ours) == 0:
		return "", fmt.Errorf("there is no receiver of type %s", receiver.NewFactory().Type())
	case len(ours) > 1:
		return "", fmt.Errorf("there are several receivers %v: choose one with --receiver", ours)
	}
	return ours[0], nil
}
