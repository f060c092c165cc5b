"""A toy MCP server over one folder. Every write is counted in `.writes`, so that a test sees a repeated one."""

from pathlib import Path

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from serving import arguments, serve

READS = ToolAnnotations(read_only_hint=True)
parser = arguments()
parser.add_argument("--root", type=Path, required=True)
options = parser.parse_args()
root: Path = options.root.resolve()
server = MCPServer("toy-files", version="1.0.0", log_level="ERROR")


def inside(path: str) -> Path:
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise ToolError(f"{path} is outside the folder this server may use")
    return found


@server.tool(structured_output=False)
def write_file(path: str, content: str) -> str:
    """Write text into a file of the folder."""
    target = inside(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)
    with (root / ".writes").open("a") as log:
        log.write(f"{path}\n")
    return f"wrote {len(content)} characters to {path}"


@server.tool(annotations=READS, structured_output=False)
def read_file(path: str) -> str:
    """Read a text file of the folder."""
    target = inside(path)
    if not target.is_file():
        raise ToolError(f"there is no file {path}")
    return target.read_text()


@server.tool(annotations=READS)
def list_files() -> list[str]:
    """List the files of the folder."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".writes")


if __name__ == "__main__":
    serve(server, options)
