// Command podman-image-copy copies one image between registries with go.podman.io/image, the library under skopeo and
// podman, at its defaults and with all platforms, as `skopeo copy --all` does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

func main() {
	plain := flag.Bool("plain-http", false, "speak plain http to both registries")
	version := flag.Bool("version", false, "print the version of go.podman.io/image")
	flag.Parse()
	if *version {
		fmt.Println(moduleVersion("go.podman.io/image/v5"))
		return
	}
	if err := copyImage(flag.Arg(0), flag.Arg(1), *plain); err != nil {
		fmt.Fprintln(os.Stderr, "podman-image-copy:", err)
		os.Exit(1)
	}
}

func copyImage(source, target string, plain bool) error {
	from, err := docker.ParseReference("//" + source)
	if err != nil {
		return err
	}
	to, err := docker.ParseReference("//" + target)
	if err != nil {
		return err
	}
	accept := signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: accept})
	if err != nil {
		return err
	}
	defer policy.Destroy()
	side := func() *types.SystemContext {
		return &types.SystemContext{DockerInsecureSkipTLSVerify: types.NewOptionalBool(plain)}
	}
	_, err = copy.Image(context.Background(), policy, to, from, &copy.Options{
		ImageListSelection: copy.CopyAllImages,
		SourceCtx:          side(),
		DestinationCtx:     side(),
	})
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
