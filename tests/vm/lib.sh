# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Building blocks of the vsock lab: the cache, the guest kernel, the initramfs parts, the helper programs.
# Sourced by run.sh. Everything lands under $cache; nothing is installed, nothing is written next to the sources.

die() { echo "teelab: $*" >&2; exit 125; }
say() { [ "${verbose:-0}" = 0 ] || printf 'teelab: %6s s  %s\n' "$(since_start)" "$*" >&2; }
now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }
since_start() { local d=$(($(now_ms) - start_ms)); printf '%d.%02d' $((d / 1000)) $((d % 1000 / 10)); }

need_programs() {
    local missing=() pair
    for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio lz4:lz4 xz:xz-utils zstd:zstd \
        gcc:gcc dpkg-deb:dpkg setpriv:util-linux; do
        command -v "${pair%%:*}" > /dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} = 0 ] || die "missing packages; run: apt-get install --no-install-recommends ${missing[*]}"
    if ldd "$(command -v busybox)" > /dev/null 2>&1; then die "busybox must be the static one (package busybox-static)"; fi
}

# ---------------------------------------------------------------- the kernel

# The newest package in apt's lists that matches the wanted kernel line.
kernel_package() {
    local re
    case $1 in
        6.1) re='^linux-image-6\.1\.0-[0-9]+-amd64$' ;;
        6.1-cloud) re='^linux-image-6\.1\.0-[0-9]+-cloud-amd64$' ;;
        6.12) re='^linux-image-6\.12\.[0-9]+(\+[a-z0-9]+)?-amd64$' ;;
        linux-image-*) echo "$1"; return ;;
        *) die "unknown kernel '$1' (6.1, 6.1-cloud, 6.12, or a package name)" ;;
    esac
    apt-cache pkgnames linux-image- | grep -E "$re" | sort -V | tail -n 1
}

# Sets kdir to a directory with vmlinux (uncompressed ELF, booted through its PVH entry: nothing to decompress in
# the guest), release and the modules the lab needs.
prepare_kernel() {
    local want=$1 lock link
    mkdir -p "$cache/kernels"
    link=$cache/kernels/$want
    if [ -e "$link/complete-2" ]; then kdir=$(readlink -f "$link"); return; fi
    exec {lock}> "$cache/kernels/.lock"
    flock "$lock"
    if [ ! -e "$link/complete-2" ]; then
        local pkg tmp
        pkg=$(kernel_package "$want")
        # A fresh container has no lists of packages.
        [ -n "$pkg" ] || { [ "$(id -u)" = 0 ] && apt-get -q update > /dev/null 2>&1; pkg=$(kernel_package "$want"); }
        [ -n "$pkg" ] || die "no kernel package for '$want' in apt's lists (apt-get update?)"
        echo "teelab: fetching $pkg (once)" >&2
        tmp=$(mktemp -d "$cache/kernels/.new.XXXXXX")
        (cd "$tmp" && apt-get -q download "$pkg" > apt.log 2>&1) || { cat "$tmp/apt.log" >&2; die "cannot download $pkg"; }
        dpkg-deb -x "$tmp"/*.deb "$tmp/unpacked"
        rm "$tmp"/*.deb
        (cd "$tmp/unpacked/lib/modules" && echo *) > "$tmp/release"
        unpack_vmlinux "$tmp"/unpacked/boot/vmlinuz-* "$tmp/vmlinux"
        collect_modules "$tmp"
        rm -rf "$tmp/unpacked"
        touch "$tmp/complete-2" # raise the number when what is kept of a kernel changes
        rm -rf "$cache/kernels/$pkg"
        mv "$tmp" "$cache/kernels/$pkg"
        [ "$want" = "$pkg" ] || ln -sfn "$pkg" "$link"
    fi
    exec {lock}>&-
    kdir=$(readlink -f "$link")
}

# Cut the compressed kernel out of a bzImage: the boot protocol's header says where it lies.
unpack_vmlinux() {
    local image=$1 out=$2 setup offset length
    setup=$(od -An -tu1 -j $((0x1f1)) -N1 "$image")
    [ "$setup" -gt 0 ] || setup=4
    offset=$(od -An -tu4 -j $((0x248)) -N4 "$image")
    length=$(od -An -tu4 -j $((0x24c)) -N4 "$image")
    offset=$(((setup + 1) * 512 + offset))
    # The last four bytes are the unpacked size, which the decompressors would take for garbage.
    tail -c +$((offset + 1)) "$image" | head -c $((length - 4)) > "$out.packed"
    case $(od -An -tx1 -N4 "$out.packed" | tr -d ' ') in
        02214c18) lz4 -qdc < "$out.packed" > "$out" ;;
        fd377a58) xz -dc --single-stream < "$out.packed" > "$out" ;;
        28b52ffd) zstd -qdc < "$out.packed" > "$out" ;;
        1f8b0800) gzip -dc < "$out.packed" > "$out" ;;
        *) die "unknown kernel compression in $image" ;;
    esac
    rm "$out.packed"
    [ "$(head -c 4 "$out")" = $'\177ELF' ] || die "no ELF kernel came out of $image"
}

# What each role loads, in this order; dependencies are added in front.
modules_of_role() {
    local io="virtio_pci virtio_console" host_root="9pnet_virtio 9p overlay"
    case $1 in
        A) echo "$io vsock_loopback vsock_diag" ;;
        C) echo "$io vmw_vsock_virtio_transport vsock_diag" ;;
        enclave) echo "virtio_pci vmw_vsock_virtio_transport" ;;
        hostroot) echo "$host_root" ;;
        loopback) echo "vsock_loopback" ;;
        vhost) echo "vhost_vsock" ;; # loaded by a test only
    esac
}

collect_modules() {
    local dir=$1 root=$1/unpacked/lib/modules role name
    mkdir -p "$dir/modules"
    for role in A C enclave hostroot loopback vhost; do
        local -a order=()
        local -A seen=()
        for name in $(modules_of_role "$role"); do add_module "$name"; done
        printf '%s\n' "${order[@]}" > "$dir/modules.$role"
    done
}

# Appends a module to $order after what it depends on (field 'depends' of its .modinfo section); uses the caller's
# dir, root, order and seen. A module that this kernel has not got is left out (the cloud kernel has no 9p).
add_module() {
    local name=${1//-/_} file dep
    [ -z "${seen[$name]:-}" ] || return 0
    seen[$name]=1
    file=$(find "$root" \( -name "${name//_/[-_]}.ko" -o -name "${name//_/[-_]}.ko.xz" -o -name "${name//_/[-_]}.ko.zst" \) | head -n 1)
    [ -n "$file" ] || return 0
    if [ ! -e "$dir/modules/$name.ko" ]; then
        case $file in
            *.xz) xz -dc "$file" > "$dir/modules/$name.ko" ;;
            *.zst) zstd -qdc "$file" > "$dir/modules/$name.ko" ;;
            *) cp "$file" "$dir/modules/$name.ko" ;;
        esac
    fi
    local IFS=,
    for dep in $(tr '\0' '\n' < "$dir/modules/$name.ko" | sed -n 's/^depends=//p' | head -n 1); do add_module "$dep"; done
    order+=("$name")
}

# ---------------------------------------------------------------- the initramfs

# Puts a file or directory of this machine at the same place in the tree $1. Parents are resolved first, so that
# /lib/x (a link to /usr/lib here, as in the guest) lands in /usr/lib.
add_path() {
    local tree=$1 path=$2 dest
    dest=$(readlink -f "$(dirname "$path")")/$(basename "$path")
    mkdir -p "$tree$(dirname "$dest")"
    if [ -d "$path" ]; then
        mkdir -p "$tree$dest"
        cp -a "$path/." "$tree$dest/"
    elif [ ! -e "$tree$dest" ]; then
        cp -L --preserve=mode,timestamps "$path" "$tree$dest"
    fi
}

# The shared libraries of the given programs, dynamic loader included.
add_libraries() {
    local tree=$1 lib
    shift
    [ $# -gt 0 ] || return 0
    { ldd "$@" 2> /dev/null || true; } | grep -oE '(=> |^[[:space:]]+)/[^ ]+' | sed 's/^=> //; s/^[[:space:]]*//' | sort -u |
        while read -r lib; do add_path "$tree" "$lib"; done
}

is_elf() { [ "$(head -c 4 "$1" 2> /dev/null | tr -d '\0')" = $'\177ELF' ]; }

# A host program under its own path, with its libraries.
add_program() {
    local tree=$1 path
    path=$(command -v "$2") || die "no program '$2' on this machine"
    path=$(readlink -f "$(dirname "$path")")/$(basename "$path")
    add_path "$tree" "$path"
    if is_elf "$path"; then add_libraries "$tree" "$path"; fi
}

make_cpio() { (cd "$1" && find . -mindepth 1 -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) > "$2"; }

# base.cpio: what does not depend on the run (busybox, bash, the modules, init). Cached per kernel and per content.
prepare_base() {
    local stamp dir name
    prepare_tools
    stamp=$(cat "$here/lib.sh" "$here"/guest/* "$(command -v busybox)" "$(command -v bash)" "$tools/vsk" | sha256sum | cut -c1-16)
    base=$kdir/base.$stamp.cpio
    [ -e "$base" ] && return
    dir=$(mktemp -d "$cache/tree.XXXXXX")
    mkdir -p "$dir"/usr/{bin,sbin,lib,lib64,lib/teelab,local/bin} "$dir"/{dev,proc,sys,tmp,run,root,etc,lab,out,host,newroot,var/tmp}
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$dir/$name"; done
    ln -s ../run "$dir/var/run"
    cp "$(command -v busybox)" "$dir/usr/bin/busybox"
    busybox --list-full | while read -r name; do
        name=${name#usr/}
        [ -e "$dir/usr/$name" ] || ln -s /usr/bin/busybox "$dir/usr/$name"
    done
    rm -f "$dir/usr/bin/bash"
    add_program "$dir" bash
    cp -r "$kdir/modules" "$dir/usr/lib/teelab/modules"
    cp "$kdir"/modules.* "$dir/usr/lib/teelab/"
    cp "$here/guest/init" "$dir/init"
    cp "$here/guest/enclavectl" "$dir/usr/bin/enclavectl"
    cp "$tools/vsk" "$dir/usr/bin/vsk"
    chmod 755 "$dir/init" "$dir/usr/bin/enclavectl"
    printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$dir/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' > "$dir/etc/group"
    printf '127.0.0.1 localhost teelab\n::1 localhost\n' > "$dir/etc/hosts"
    printf 'nameserver 127.0.0.1\n' > "$dir/etc/resolv.conf"
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' > "$dir/etc/nsswitch.conf"
    cp /etc/ld.so.cache "$dir/etc/ld.so.cache"
    make_cpio "$dir" "$base.tmp.$$"
    mv "$base.tmp.$$" "$base"
    rm -rf "$dir"
}

# base-enclave.cpio: as little as an enclave can live on.
prepare_enclave_base() {
    local stamp dir name
    stamp=$(cat "$here/lib.sh" "$here"/guest/* "$(command -v busybox)" "$tools/vsk" "$tools/enclave" | sha256sum | cut -c1-16)
    enclave_base=$kdir/enclave.$stamp.cpio
    [ -e "$enclave_base" ] && return
    dir=$(mktemp -d "$cache/tree.XXXXXX")
    mkdir -p "$dir"/usr/{bin,sbin,lib,lib64,lib/teelab/modules,local/bin} "$dir"/{dev,proc,sys,tmp,run,root,etc,lab,out}
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$dir/$name"; done
    cp "$(command -v busybox)" "$dir/usr/bin/busybox"
    busybox --list-full | while read -r name; do
        name=${name#usr/}
        [ -e "$dir/usr/$name" ] || ln -s /usr/bin/busybox "$dir/usr/$name"
    done
    while read -r name; do
        [ -z "$name" ] || cp "$kdir/modules/$name.ko" "$dir/usr/lib/teelab/modules/"
    done < <(sort -u "$kdir/modules.enclave" "$kdir/modules.hostroot")
    cp "$kdir/modules.enclave" "$kdir/modules.hostroot" "$dir/usr/lib/teelab/"
    cp "$here/guest/init" "$dir/init"
    chmod 755 "$dir/init"
    cp "$tools/vsk" "$tools/enclave" "$dir/usr/bin/"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$dir/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' > "$dir/etc/group"
    printf '127.0.0.1 localhost enclave\n' > "$dir/etc/hosts"
    make_cpio "$dir" "$enclave_base.tmp.$$"
    mv "$enclave_base.tmp.$$" "$enclave_base"
    rm -rf "$dir"
}

# The helper programs: static ones for the guests, vsock-switch for this machine.
prepare_tools() {
    local src out
    tools=$cache/tools
    mkdir -p "$tools"
    for src in "$here"/src/{vsk,enclave,vsock-switch}.c; do
        out=$tools/$(basename "$src" .c)
        [ "$out" -nt "$src" ] && continue
        gcc -std=gnu11 -O2 -g -Wall -Wextra -static -o "$out.$$" "$src" -lpthread || die "cannot build $src"
        mv "$out.$$" "$out"
    done
}
