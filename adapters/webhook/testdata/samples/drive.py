import sys

from verify import verify

lines = iter(sys.stdin.read().split("\n"))
for now in lines:
    if now == "":
        break
    now = int(now)
    secrets = [next(lines) for _ in range(int(next(lines)))]
    headers = dict(next(lines).split(" ", 1) for _ in range(int(next(lines))))
    print("true" if verify(headers, bytes.fromhex(next(lines)), secrets NOW) else "false")
