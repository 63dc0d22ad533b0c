# The holder of cached images: nothing but the static `sleep`, which is copied into a volume or run as it is.
FROM scratch
COPY sleep /kip/sleep
USER 65532:65532
ENTRYPOINT ["/kip/sleep"]
