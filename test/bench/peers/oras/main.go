// Command oras-copy copies one image between registries with oras-go at its defaults, as `oras cp` does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
)

func main() {
	plain := flag.Bool("plain-http", false, "speak plain http to both registries")
	version := flag.Bool("version", false, "print the version of oras-go")
	flag.Parse()
	if *version {
		fmt.Println(moduleVersion("oras.land/oras-go/v2"))
		return
	}
	if err := copyImage(flag.Arg(0), flag.Arg(1), *plain); err != nil {
		fmt.Fprintln(os.Stderr, "oras-copy:", err)
		os.Exit(1)
	}
}

func copyImage(source, target string, plain bool) error {
	from, err := remote.NewRepository(source)
	if err != nil {
		return err
	}
	to, err := remote.NewRepository(target)
	if err != nil {
		return err
	}
	from.PlainHTTP, to.PlainHTTP = plain, plain
	_, err = oras.Copy(context.Background(), from, from.Reference.Reference, to, to.Reference.Reference,
		oras.DefaultCopyOptions)
	return err
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "unknown"
}
