#!/usr/bin/env python3
"""Fetches, checks, patches and builds the sources of third_party/manifest.toml.

    tools/third_party.py path llama_cpp [--variant release|tsan]   print the prefix, building it if needed
    tools/third_party.py path llama_server [--patches N] [--quick] llama.cpp's own server, for comparisons; with the
                                                                   first N patches only; --quick: for what it answers, not
                                                                   how fast, so what is around the model may be slow code
    tools/third_party.py path llama_bench [--patches N]            its benchmarks, the same
    tools/third_party.py path boost_context                        print the source folder
    tools/third_party.py path sqlite                               the same: CMake compiles it with each build's flags

Results live in a cache outside the repository ($SHOAL_CACHE, default ~/.cache/shoal), keyed by version,
patches, compiler and flags, so that a second clone builds nothing twice.
"""
import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("SHOAL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shoal")

LLAMA_FLAGS = {
    "release": [
        "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON",
        # One CPU backend for each x86-64 level, chosen when the worker starts.
        "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON", "-DGGML_NATIVE=OFF",
        "-DGGML_OPENMP=OFF",
    ],
    # One backend, with the sanitizer in it, for the data-race tests.
    "tsan": [
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBUILD_SHARED_LIBS=ON",
        "-DGGML_BACKEND_DL=ON", "-DGGML_NATIVE=OFF", "-DGGML_OPENMP=OFF",
        "-DGGML_SANITIZE_THREAD=ON", "-DLLAMA_SANITIZE_THREAD=ON",
    ],
    # One backend, for this very machine.
    "bench": [
        "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", "-DGGML_NATIVE=ON", "-DGGML_OPENMP=OFF",
    ],
}
LLAMA_COMMON_FLAGS = [
    "-DLLAMA_OPENSSL=OFF", "-DLLAMA_SUBPROCESS=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_COMMON=ON",
]


def say(*words):
    print("third_party:", *words, file=sys.stderr, flush=True)


def run(args, **kwargs):
    """Runs a command; its output goes to stderr, so that stdout stays the answer."""
    return subprocess.run([str(a) for a in args], check=True, stdout=kwargs.pop("stdout", sys.stderr), **kwargs)


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tree_sha256(folder):
    lines = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        if relative == ".git" or relative.startswith(".git/") or not (path.is_file() or path.is_symlink()):
            continue
        content = hashlib.sha256(os.readlink(path).encode()).hexdigest() if path.is_symlink() else sha256_file(path)
        lines.append(f"{content} {relative}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def way_git(way, target, scratch):
    run(["git", "clone", "-q", "--depth", "1", "--branch", way["tag"], way["url"], target], timeout=900)


def unpack_npm(way, scratch):
    """Where `inner` of an npm package lies."""
    if not shutil.which("npm"):
        run([ROOT / "tools/install_deps", "--npm"])
    run(["npm", "pack", "--silent", f"{way['package']}@{way['version']}"], cwd=scratch)
    tarball = next(scratch.glob("*.tgz"))
    run(["tar", "-xzf", tarball, way["inner"]], cwd=scratch)
    return scratch / way["inner"]


def way_npm(way, target, scratch):
    unpack_npm(way, scratch).rename(target)


def way_npm_bundle(way, target, scratch):
    run(["git", "-c", "advice.detachedHead=false", "clone", "-q", unpack_npm(way, scratch), target])


def download(way, archive):
    run(["curl", "-fsSL", "--connect-timeout", "10", "-o", archive, way["url"]])


def way_tar(way, target, scratch):
    archive = scratch / "archive"
    download(way, archive)
    if (got := sha256_file(archive)) != way["sha256"]:
        raise RuntimeError(f"sha256 of {way['url']}: wanted {way['sha256']}, got {got}")
    run(["tar", "-xf", archive, "-C", scratch])
    (scratch / way["strip"]).rename(target)


def way_zip(way, target, scratch):
    """What is in it is checked, not the archive."""
    archive = scratch / "archive"
    download(way, archive)
    with zipfile.ZipFile(archive) as unpacked:
        unpacked.extractall(scratch / "unpacked")
    (scratch / "unpacked" / way["strip"]).rename(target)


def way_debian_source(way, target, scratch):
    """The source package, through apt, from the mirrors that this machine uses for binaries."""
    lists = scratch / "sources"
    lists.mkdir()
    out = (scratch / "deb-src.list").open("w")
    for binary in sorted([Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]):
        if not binary.is_file():
            continue
        text = binary.read_text()
        if binary.suffix == ".sources":
            (lists / binary.name).write_text(text.replace("Types: deb\n", "Types: deb-src\n"))
        else:
            for line in text.splitlines():
                if line.startswith("deb "):
                    out.write("deb-src " + line[4:] + "\n")
    out.close()
    options = ["-o", f"Dir::Etc::sourcelist={scratch / 'deb-src.list'}", "-o", f"Dir::Etc::sourceparts={lists}",
               "-o", f"Dir::State::lists={scratch / 'lists'}", "-o", "APT::Sandbox::User=root"]
    (scratch / "lists" / "partial").mkdir(parents=True)
    run(["apt-get", *options, "-qq", "update"])
    run(["apt-get", *options, "-qq", "source", "--download-only", way["package"]], cwd=scratch)
    original = next(scratch.glob("*.orig.tar.*"))
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    run(["tar", "-xf", original, "-C", unpacked, "--strip-components=1", "--wildcards", "*/libs/context/*"])
    unpacked.rename(target)


WAYS = {"git": way_git, "npm": way_npm, "npm-bundle": way_npm_bundle, "tar": way_tar, "zip": way_zip,
        "debian-source": way_debian_source}


def keep_only(tree, files):
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(tree).as_posix() not in files:
            path.unlink()


@contextlib.contextmanager
def alone():
    """Two that build at once take turns; who finds all done need not wait for them."""
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sources(name, source):
    """Where the tree of each way belongs, and its sum."""
    sums = [way.get("tree_sha256") or source["tree_sha256"] for way in source["ways"]]
    return [(CACHE / "sources" / f"{name}-{source['version']}-{wanted[:12]}", wanted) for wanted in sums]


def fetched(name, source):
    return next((target for target, _ in sources(name, source) if target.is_dir()), None)


def fetch(name, source):
    """The unpacked, checked, unpatched tree. REQUIRES: alone()."""
    if target := fetched(name, source):
        return target
    failures = []
    for way, (target, wanted) in zip(source["ways"], sources(name, source)):
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="fetch-") as scratch:
            tree = Path(scratch) / "tree"
            say(f"fetching {name} {source['version']} ({way['kind']}) ...")
            try:
                WAYS[way["kind"]](way, tree, Path(scratch))
                shutil.rmtree(tree / ".git", ignore_errors=True)
                if "subtree" in source:
                    only = Path(scratch) / "only" / source["subtree"]
                    only.parent.mkdir(parents=True)
                    (tree / source["subtree"]).rename(only)
                    tree = Path(scratch) / "only"
                if "files" in source:
                    keep_only(tree, source["files"])
                if (got := tree_sha256(tree)) != wanted:
                    raise RuntimeError(f"tree sha256: wanted {wanted}, got {got}")
            except (OSError, RuntimeError, StopIteration, subprocess.SubprocessError, zipfile.BadZipFile) as error:
                failures.append(f"  {way['kind']}: {error}")
                say(f"{way['kind']} did not deliver; trying the next way")
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            tree.rename(target)
            return target
    sys.exit(f"third_party: no way delivered {name} {source['version']}:\n" + "\n".join(failures))


def compiler(variant):
    """Names of the compilers and what identifies them. ThreadSanitizer's runtime must be that of the program, clang's."""
    cc, cxx = os.environ.get("SHOAL_LLAMA_CC", "gcc"), os.environ.get("SHOAL_LLAMA_CXX", "g++")
    if variant == "tsan":
        cc, cxx = "clang-19", "clang++-19"
    return cc, cxx, subprocess.run([cxx, "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


def patched_llama(source, work):
    tree = work / "src"
    shutil.copytree(fetch("llama_cpp", source), tree, symlinks=True)
    for patch in source["patches"]:
        run(["patch", "-p1", "-s", "-i", ROOT / "third_party" / patch], cwd=tree)
    return tree


def llama_prefix(source, variant):
    """Where this variant of this source lives; it may not be there yet."""
    _, _, identity = compiler(variant)
    flags = LLAMA_FLAGS[variant] + LLAMA_COMMON_FLAGS
    patches = "".join(sha256_file(ROOT / "third_party" / p) for p in source["patches"])
    key = hashlib.sha256("\n".join([source["tree_sha256"], patches, identity, *flags]).encode()).hexdigest()[:16]
    return CACHE / "llama.cpp" / f"{source['version']}-{variant}-{key}"


def configure_llama(source, variant, prefix, *more):
    cc, cxx, _ = compiler(variant)
    prefix.mkdir(parents=True, exist_ok=True)
    if not (prefix / "src").is_dir():
        with tempfile.TemporaryDirectory(dir=prefix, prefix="patch-") as scratch:
            patched_llama(source, Path(scratch)).rename(prefix / "src")
    build = prefix / "build"
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run(["cmake", "-S", prefix / "src", "-B", build, "-G", "Ninja", f"-DCMAKE_C_COMPILER={cc}",
         f"-DCMAKE_CXX_COMPILER={cxx}", "-Wno-dev", *launcher, *LLAMA_FLAGS[variant], *LLAMA_COMMON_FLAGS, *more])
    return build


def llama_done(prefix, server):
    """Whether the libraries are built, and the server that is asked for: None, "quick" or "optimised"."""
    servers = {None: [prefix], "quick": [prefix / ".server_quick", prefix / ".server"], "optimised": [prefix / ".server"]}
    return (prefix / ".libraries").exists(), any(done.exists() for done in servers[server])


def llama(source, variant, server=None):
    """The prefix with the libraries, and with llama-server if that is asked for."""
    prefix = llama_prefix(source, variant)
    if not all(llama_done(prefix, server)):
        with alone():
            build_llama(source, variant, prefix, server)
    return prefix


def build_llama(source, variant, prefix, server):
    libraries_done, server_done = llama_done(prefix, server)
    build = configure_llama(source, variant, prefix, f"-DSHOAL_UNOPTIMISED_SERVER={'ON' if server == 'quick' else 'OFF'}",
                            f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={ROOT}/third_party/llama.cpp/server.cmake")
    if not libraries_done:
        say(f"building llama.cpp {source['version']} ({variant}); about 6 minutes on two cores, once per machine ...")
        listing = subprocess.run(["ninja", "-C", build, "-t", "targets", "all"], check=True, capture_output=True, text=True).stdout
        backends = sorted({line.split(":")[0] for line in listing.splitlines()
                           if line.startswith("ggml-cpu") and ": phony" in line})
        run(["ninja", "-C", build, "llama", "ggml", *backends])
        copy_libraries(prefix)
        (prefix / ".libraries").touch()
    if not server_done:
        say("building llama-server, for comparisons; 3 to 6 minutes on two cores, once per machine ...")
        run(["ninja", "-C", build, "llama-server"])
        (prefix / (".server_quick" if server == "quick" else ".server")).touch()


def first_patches(source, count):
    return {**source, "patches": source["patches"][:count]}


def llama_bench(source):
    prefix = llama_prefix(source, "bench")
    if not (prefix / ".bench").exists():
        with alone():
            build = configure_llama(source, "bench", prefix)
            say(f"building llama-bench with {len(source['patches'])} patches; about 4 minutes on two cores, once per machine ...")
            run(["ninja", "-C", build, "llama-bench", "llama-batched-bench"])
            (prefix / ".bench").touch()
    return prefix / "build" / "bin"


def copy_libraries(prefix):
    include, lib = prefix / "include", prefix / "lib"
    for folder in (include, lib):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for origin in ("include", "ggml/include"):
        for header in (prefix / "src" / origin).glob("*.h"):
            shutil.copy2(header, include)
    for library in (prefix / "build" / "bin").glob("*.so*"):
        shutil.copy2(library, lib, follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["path"])
    parser.add_argument("name", choices=["llama_cpp", "llama_server", "llama_bench", "boost_context", "sqlite"])
    parser.add_argument("--variant", choices=["release", "tsan"], default="release")
    parser.add_argument("--patches", type=int, help="of llama_server, llama_bench: apply only the first N patches")
    parser.add_argument("--quick", action="store_true", help="of llama_server: built without optimisation")
    options = parser.parse_args()
    manifest = tomllib.loads((ROOT / "third_party" / "manifest.toml").read_text())
    source = manifest["source"]["llama_cpp"]
    CACHE.mkdir(parents=True, exist_ok=True)
    if options.name in ("boost_context", "sqlite"):
        wanted = manifest["source"][options.name]
        if not (path := fetched(options.name, wanted)):
            with alone():
                path = fetch(options.name, wanted)
        print(path)
    elif options.name == "llama_server":
        server = "quick" if options.quick else "optimised"
        print(llama(first_patches(source, options.patches), "release", server) / "build" / "bin" / "llama-server")
    elif options.name == "llama_bench":
        print(llama_bench(first_patches(source, options.patches)))
    else:
        print(llama(source, options.variant))


if __name__ == "__main__":
    main()
