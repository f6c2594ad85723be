#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a script inside a small emulated guest that has a real AF_VSOCK; see README.md.
set -uo pipefail
start_ms=$((${EPOCHREALTIME/[.,]/} / 1000))
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${TEELAB_CACHE:-/var/tmp/teeproxy-vm}
# shellcheck source=lib.sh
. "$here/lib.sh"

usage() {
    cat << 'TEXT'
usage: run.sh [OPTION...] DIR SCRIPT [ARG...]
       run.sh [OPTION...] DIR -c 'COMMANDS'
DIR is copied to /lab in the guest, with the shared libraries of the programs in it; SCRIPT (a path in DIR) runs there.
Its stdout and stderr are this program's, its exit code too (124: out of time; 125: the lab itself failed).

  --topology A        one guest with vsock_loopback: every address is CID 1 (default)
  --topology C        a parent guest (CID 3) and enclave guests side by side, as in Nitro
  --enclave CID[=SCRIPT]  C: an enclave, and what runs in it (a path in DIR); may be repeated.
                      Without SCRIPT, and for the default enclaves 16 and 17: src/enclave.c
  --enclave-dir DIR   C: what the enclaves have as /lab (default: DIR when any SCRIPT is given, else nothing)
  --no-start          C: start no enclave; the script does that with `enclavectl start CID`
  --unknown rst|drop  C: what a packet to a CID that is not there gets (default drop: the connect times out)
  --death rst|silent  C: whether the peers of a stopped enclave are told (default rst)
  --program NAME      a program of this machine to have in the guest, with its libraries; may be repeated
  --enclave-program NAME  the same for the enclaves
  --enclave-host-root C: the enclaves see this machine's tree too, and their SCRIPTs run in the enclaves' DIR in place
  --enclave-memory MB (default 384)
  --copy PATH         a file or directory of this machine to have at the same place; may be repeated
  --host-root         the guest sees this machine's whole tree (read-only; its writes stay in its memory) and SCRIPT
                      runs in DIR at its own path, nothing being copied
  --out DIR           what the script leaves in $OUT comes back here
  --logs DIR          keep the guests' console logs and the switch's log here
  --kernel NAME       6.1 (default), 6.1-cloud, 6.12, or the name of a package linux-image-...
  --memory MB --cpus N --timeout SECONDS   (default: by the payload's size, 2, 300)
  --loopback          C: load vsock_loopback too
  --trace             C: log every vsock packet's header (switch.log in the --logs directory)
  -v                  say what happens when, on stderr
TEXT
}

topology=A kernel=6.1 memory=0 cpus=2 timeout=300 out='' logs='' verbose=0 hostroot=0 autostart=1 loopback=0
enclave_hostroot=0 enclave_memory=384 trace=''
unknown=drop death=rst enclave_dir=''
declare -a programs=() enclave_programs=() copies=() enclaves=()
declare -A enclave_script=()
while [ $# -gt 0 ]; do
    case $1 in
        --topology) topology=$2; shift ;;
        --enclave) enclaves+=("${2%%=*}"); case $2 in *=*) enclave_script[${2%%=*}]=${2#*=} ;; esac; shift ;;
        --enclave-dir) enclave_dir=$2; shift ;;
        --no-start) autostart=0 ;;
        --unknown) unknown=$2; shift ;;
        --death) death=$2; shift ;;
        --program) programs+=("$2"); shift ;;
        --enclave-program) enclave_programs+=("$2"); shift ;;
        --copy) copies+=("$2"); shift ;;
        --host-root) hostroot=1 ;;
        --out) out=$2; shift ;;
        --logs) logs=$2; shift ;;
        --kernel) kernel=$2; shift ;;
        --memory) memory=$2; shift ;;
        --cpus) cpus=$2; shift ;;
        --timeout) timeout=$2; shift ;;
        --loopback) loopback=1 ;;
        --trace) trace=-v ;;
        --enclave-host-root) enclave_hostroot=1 ;;
        --enclave-memory) enclave_memory=$2; shift ;;
        -v) verbose=1 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 125 ;;
        *) break ;;
    esac
    shift
done
[ $# -ge 2 ] || { usage >&2; exit 125; }
case $topology in A | C) ;; *) die "no topology '$topology'" ;; esac
dir=$(readlink -f "$1") || die "no directory $1"
[ -d "$dir" ] || die "no directory $1"
shift
if [ "$1" != -c ]; then [ -f "$dir/$1" ] || die "no script $1 in $dir"; fi
if [ "$topology" = A ]; then enclaves=(); elif [ ${#enclaves[@]} = 0 ]; then enclaves=(16 17); fi
case $topology in C) parent_cid=3 ;; *) parent_cid=1 ;; esac
[ -n "$enclave_dir" ] || [ ${#enclave_script[@]} = 0 ] || enclave_dir=$dir

need_programs
mkdir -p "$cache"
prepare_kernel "$kernel"
prepare_base
[ $topology = C ] || [ $enclave_hostroot = 0 ] || die "--enclave-host-root is for topology C"
[ $hostroot$enclave_hostroot = 00 ] || [ -e "$kdir/modules/9p.ko" ] || die "the kernel '$kernel' has no 9p for --host-root"

# ---------------------------------------------------------------- what this run leaves behind, and its end

for name in "$cache"/run.*; do # left by a run that was killed outright
    pid=${name#"$cache"/run.}
    pid=${pid%%.*}
    [ -d "$name" ] && ! kill -0 "$pid" 2> /dev/null && rm -rf "$name"
done
run=$(mktemp -d "$cache/run.$$.XXXXXX")
declare -a helpers=() # processes of this run, by pid
stop() { kill "$1" 2> /dev/null && wait "$1" 2> /dev/null; return 0; }
# Is this pid (from a file) still one of this run's emulators? Its command line has the run's directory in it.
ours() { [ -n "$1" ] && grep -aqF "$run/" "/proc/$1/cmdline" 2> /dev/null; }
finish() {
    local pid file
    trap - EXIT INT TERM HUP
    for pid in "${helpers[@]}"; do stop "$pid"; done
    for file in "$run"/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        ours "$pid" && kill -KILL "$pid"
        while ours "$pid"; do sleep 0.02; done
    done
    if [ -n "$logs" ]; then mkdir -p "$logs" && cp "$run"/*.log "$logs"/ 2> /dev/null; fi
    rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A process started through this ends with the shell that started it, whatever befalls that shell.
tied() { exec setpriv --pdeathsig TERM -- "$@"; }

# ---------------------------------------------------------------- the payloads

quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

elf_files_in() { find "$1" -type f \( -perm /111 -o -name '*.so*' \) -print0 | while IFS= read -r -d '' f; do is_elf "$f" && printf '%s\0' "$f"; done; }

add_directory() { # TREE DIR: DIR becomes /lab, with the libraries of what is in it
    local tree=$1 from=$2
    local -a elves=()
    mkdir -p "$tree/lab"
    cp -a "$from/." "$tree/lab/"
    mapfile -d '' elves < <(elf_files_in "$from")
    [ ${#elves[@]} = 0 ] || add_libraries "$tree" "${elves[@]}"
}

write_start() { # FILE CWD COMMAND...: the file that the guest runs
    local file=$1 cwd=$2 word
    shift 2
    {
        echo '#!/bin/sh'
        echo "export TEELAB_ENCLAVES='${enclaves[*]}' TEELAB_PARENT_CID=$parent_cid"
        echo "cd $(quote "$cwd") || exit 125"
        printf exec
        for word in "$@"; do printf ' %s' "$(quote "$word")"; done
        echo
    } > "$file"
    chmod 755 "$file"
}

if [ "$1" = -c ]; then
    command=(bash "$@")
elif [ -x "$dir/$1" ]; then
    command=("./$1" "${@:2}")
else
    command=(bash "./$1" "${@:2}")
fi

cmdline="console=ttyS0 quiet panic=-1 reboot=t nokaslr mitigations=off random.trust_cpu=on audit=0 apparmor=0 \
selinux=0 cryptomgr.notests rcupdate.rcu_expedited=1 teelab.topology=$topology"

tree=$run/tree
mkdir -p "$tree/etc/teelab"
if [ $hostroot = 1 ]; then
    write_start "$tree/etc/teelab/start" "$dir" "${command[@]}"
else
    add_directory "$tree" "$dir"
    write_start "$tree/etc/teelab/start" /lab "${command[@]}"
fi
for name in "${programs[@]}"; do add_program "$tree" "$name"; done
for name in "${copies[@]}"; do add_path "$tree" "$(realpath -s "$name")"; done

if [ $topology != A ]; then
    prepare_enclave_base
    etree=$run/enclave-tree
    mkdir -p "$etree/etc/teelab"
    enclave_cwd=/lab
    if [ -n "$enclave_dir" ]; then
        enclave_dir=$(readlink -f "$enclave_dir")
        if [ $enclave_hostroot = 1 ]; then enclave_cwd=$enclave_dir; else add_directory "$etree" "$enclave_dir"; fi
    fi
    for name in "${enclave_programs[@]}"; do add_program "$etree" "$name"; done
    for cid in "${!enclave_script[@]}"; do
        script=${enclave_script[$cid]}
        [ -f "$enclave_dir/$script" ] || die "no script $script in $enclave_dir"
        # A script for bash brings bash.
        if head -n 1 "$enclave_dir/$script" | grep -aq '^#!.*bash'; then add_program "$etree" bash; fi
        {
            printf '#!/bin/sh\ncd %s && exec ' "$(quote "$enclave_cwd")"
            [ -x "$enclave_dir/$script" ] || printf 'sh '
            quote "./$script"
            echo
        } > "$etree/etc/teelab/enclave-$cid"
        chmod 755 "$etree/etc/teelab/enclave-$cid"
    done
    make_cpio "$etree" "$run/enclave.cpio"
    cat "$enclave_base" "$run/enclave.cpio" > "$run/enclave.initrd"
fi

make_cpio "$tree" "$run/payload.cpio"
cat "$base" "$run/payload.cpio" > "$run/parent.initrd"
payload_mb=$(($(stat -c %s "$run/parent.initrd") / 1048576))
rm -rf "$tree" "${etree:-$run/none}"
if [ "$memory" = 0 ]; then
    memory=$((768 + 3 * payload_mb))
fi
say "payload ready: $payload_mb MB, guest memory $memory MB"

# ---------------------------------------------------------------- the guests

# q35 for its HPET: on a microvm the clock would tick in 4 ms steps, and now and then its calibration hangs.
qemu=(qemu-system-x86_64 -nodefaults -no-user-config -display none -monitor none -no-reboot
    -accel tcg,thread=multi -cpu max -kernel "$kdir/vmlinux")

host_tree=(-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap)

vsock_device() { # CID: the options that plug a guest into the switch
    printf '%s\n' -chardev "socket,id=vsock,path=$run/vsock-$1.sock" -device vhost-user-vsock-pci,chardev=vsock
}

start_enclave() { # CID
    local cid=$1 device
    mapfile -t device < <(vsock_device "$cid")
    [ $enclave_hostroot = 0 ] || device+=("${host_tree[@]}")
    (tied "${qemu[@]}" -name "enclave-$cid" -smp 1 -M q35,memory-backend=ram \
        -object "memory-backend-memfd,id=ram,size=${enclave_memory}M,share=on" -m "$enclave_memory" \
        -initrd "$run/enclave.initrd" \
        -append "$cmdline teelab.role=enclave teelab.cid=$cid teelab.parent=$parent_cid teelab.hostroot=$enclave_hostroot" \
        -serial "file:$run/enclave-$cid.log" "${device[@]}" < /dev/null > "$run/enclave-$cid.qemu.log" 2>&1) &
    echo $! > "$run/enclave-$cid.pid"
    disown # no word from the shell when it is killed
}

control() { # what enclavectl asks for, in the guest
    local verb cid pid
    while read -r verb cid <&"$ctl"; do
        pid=$(cat "$run/enclave-$cid.pid" 2> /dev/null)
        ours "$pid" || pid=
        case $verb:${pid:+up} in
            start:) start_enclave "$cid"; echo "ok started" ;;
            start:up) echo "ok already up" ;;
            stop:up)
                kill -KILL "$pid"
                while ours "$pid"; do sleep 0.02; done
                rm -f "$run/enclave-$cid.pid"
                echo "ok stopped"
                ;;
            pause:up) kill -STOP "$pid"; echo "ok paused" ;;
            resume:up) kill -CONT "$pid"; echo "ok resumed" ;;
            state:*) echo "ok ${pid:+up}" ;;
            *) echo "failed: enclave $cid is not up" ;;
        esac > "$run/ctl.in"
        say "enclavectl $verb $cid"
    done
}

mkfifo "$run/out" "$run/err"
cat "$run/out" &
cat_out=$!
cat "$run/err" >&2 &
cat_err=$!
: > "$run/code" > "$run/out.tar"

machine=(-M q35 -m "$memory")
extra=()
if [ $topology = C ]; then
    sockets=("$parent_cid=$run/vsock-$parent_cid.sock")
    for cid in "${enclaves[@]}"; do sockets+=("$cid=$run/vsock-$cid.sock"); done
    (tied "$tools/vsock-switch" --unknown "$unknown" --death "$death" $trace "${sockets[@]}" > "$run/switch.log" 2>&1) &
    helpers+=($!)
    for ((i = 0; i < 100; i++)); do [ -S "$run/vsock-${enclaves[-1]}.sock" ] && break; sleep 0.02; done
    mkfifo "$run/ctl.in" "$run/ctl.out"
    exec {ctl}<> "$run/ctl.out"
    if [ $autostart = 1 ]; then for cid in "${enclaves[@]}"; do start_enclave "$cid"; done; fi
    control &
    helpers+=($!)
    mapfile -t extra < <(vsock_device "$parent_cid")
    extra+=(-chardev "pipe,id=ctl,path=$run/ctl" -device virtserialport,chardev=ctl,name=ctl)
    machine=(-M q35,memory-backend=ram -object "memory-backend-memfd,id=ram,size=${memory}M,share=on" -m "$memory")
fi
[ $hostroot = 0 ] || extra+=("${host_tree[@]}")

say "starting the guest"
(tied timeout -k 5 "$timeout" setpriv --pdeathsig TERM -- "${qemu[@]}" -name parent -smp "$cpus" "${machine[@]}" \
    -initrd "$run/parent.initrd" \
    -append "$cmdline teelab.role=parent teelab.cid=$parent_cid teelab.hostroot=$hostroot teelab.loopback=$loopback" \
    -serial "file:$run/parent.log" -device virtio-serial-pci,max_ports=8 \
    -chardev "file,id=out,path=$run/out" -device virtserialport,chardev=out,name=out \
    -chardev "file,id=err,path=$run/err" -device virtserialport,chardev=err,name=err \
    -chardev "file,id=code,path=$run/code" -device virtserialport,chardev=code,name=code \
    -chardev "file,id=tar,path=$run/out.tar" -device virtserialport,chardev=tar,name=tar \
    "${extra[@]}" < /dev/null > "$run/parent.qemu.log" 2>&1) &
guest=$!
helpers+=($guest)
wait $guest
status=$?
say "the guest ended"
# The pipes had no writer if the emulator never got so far: give them one, so that the readers end.
: 1<> "$run/out" 1<> "$run/err"
wait $cat_out $cat_err

code=$(cat "$run/code")
if [ -n "$out" ] && [ -s "$run/out.tar" ]; then mkdir -p "$out" && tar -C "$out" -xf "$run/out.tar"; fi
if [ -z "$code" ]; then
    tail -n 30 "$run/parent.log" "$run/parent.qemu.log" >&2
    [ $status != 124 ] || { echo "teelab: out of time after $timeout s" >&2; exit 124; }
    die "the guest ended without a result (emulator's status $status)"
fi
exit "$code"
