"""What TensorBoard and Weights & Biases see in files that spdlua wrote, as JSON.

    read_trackers.py tensorboard FOLDER     by TensorBoard's event accumulator, and by its data server
    read_trackers.py wandb FOLDER           by `wandb sync`, which sends to a server of this script on 127.0.0.1
"""
import argparse
import gzip
import http.server
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time


# ---- TensorBoard --------------------------------------------------------------------------------

def accumulated(folder):
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.plugins.hparams import metadata

    events = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    content = events.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    result = {
        "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]},
        "images": {tag: [[e.step, e.width, e.height, len(e.encoded_image_string)] for e in events.Images(tag)]
                   for tag in tags["images"]},
        "hparams": {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()},
        "status": None,
    }
    if metadata.SESSION_END_INFO_TAG in content:
        result["status"] = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG]).status
    return result


def served(folder):
    """The same of the server that `tensorboard` starts for a folder of runs."""
    from tensorboard.data import server_ingester
    from tensorboard.util import grpc_util

    ingester = server_ingester.SubprocessServerDataIngester(
        server_ingester.get_server_binary(), folder, reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL, samples_per_plugin={"scalars": 0, "images": 0})
    ingester.start()
    before, now = None, ""
    while before != now or not json.loads(now)["scalars"]:  # it reads while it serves
        time.sleep(0.5)
        before, now = now, json.dumps(provided(ingester.data_provider), sort_keys=True)
    return json.loads(now)


def provided(provider):
    from tensorboard import context
    from tensorboard.plugins.hparams import backend_context

    class TensorBoard:
        data_provider = provider

    def points(read, plugin, show):
        runs = read(nothing, experiment_id="", plugin_name=plugin, downsample=10000)
        return {run: {tag: [show(point) for point in found] for tag, found in tags.items()}
                for run, tags in runs.items()}

    nothing = context.RequestContext()
    hparams = backend_context.Context(TensorBoard())
    experiment = hparams.experiment_from_metadata(
        nothing, "", True, hparams.hparams_metadata(nothing, ""), hparams.hparams_from_data_provider(nothing, "", 0))
    return {
        "scalars": points(provider.read_scalars, "scalars", lambda point: [point.step, point.value]),
        "images": points(provider.read_blob_sequences, "images", lambda point: point.step),
        "hparams": sorted(info.name for info in experiment.hparam_infos),
        "metrics": sorted({info.name.tag for info in experiment.metric_infos}),
    }


# ---- Weights & Biases ---------------------------------------------------------------------------

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.received = {"run": {}, "history": {}, "summary": None, "exit": None, "complete": None, "uploads": {}}

    def url(self, path=""):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    """The few answers that `wandb sync` needs."""

    def log_message(self, *_):
        pass

    def body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({})

    def do_PUT(self):
        name, body = self.path.removeprefix("/upload/"), self.body()
        with self.server.lock:
            self.server.received["uploads"][name] = len(body) if name.endswith(".png") else body.decode()
        self.answer({})

    def do_POST(self):
        request = json.loads(self.body())
        with self.server.lock:
            if self.path == "/graphql":
                answer = {"data": self.graphql(request["query"], request["variables"])}
            else:
                answer = self.stream(request)
        self.answer(answer)

    def graphql(self, query, variables):
        operation = re.search(r"(?:query|mutation)\s+(\w+)", query).group(1)
        if operation == "UpsertBucket":
            self.server.received["run"].update({k: v for k, v in variables.items() if v is not None})
            run = self.server.received["run"]
            return {"upsertBucket": {"inserted": True, "bucket": {
                "id": "stored", "name": run["name"], "displayName": run["displayName"], "description": "",
                "config": "{}", "sweepName": None, "historyLineCount": 0,
                "project": {"id": "p", "name": run["project"], "entity": {"id": "e", "name": run.get("entity", "")}},
            }}}
        if operation == "CreateRunFiles":
            return {"createRunFiles": {"runID": "stored", "uploadHeaders": [], "files": [
                {"name": name, "uploadUrl": self.server.url("/upload/" + name)} for name in variables["files"]]}}
        return {}

    def stream(self, request):
        received = self.server.received
        for name, part in request.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                received["history"].update({part["offset"] + i: line for i, line in enumerate(lines)})
            elif name == "wandb-summary.json":
                received["summary"] = lines[-1]
        if "complete" in request:
            received["complete"], received["exit"] = request["complete"], request.get("exitcode")
        return {}


def synced(folder):
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        environment |= {"HOME": home, "WANDB_DIR": home, "WANDB_BASE_URL": server.url(), "WANDB_API_KEY": "0" * 40,
                        "WANDB_ERROR_REPORTING": "false", "NO_PROXY": "127.0.0.1"}
        done = subprocess.run([os.path.join(os.path.dirname(sys.executable), "wandb"), "sync", folder], cwd=home,
                              env=environment, capture_output=True, text=True, timeout=120)
    received = server.received
    received["history"] = [received["history"][i] for i in sorted(received["history"])]
    received["said"] = done.stdout + done.stderr
    received["status"] = done.returncode
    return received


def plain(value):
    """The same in strict JSON: what is no finite number as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tracker", choices=["tensorboard", "wandb"])
    parser.add_argument("folder")
    options = parser.parse_args()
    if options.tracker == "wandb":
        result = synced(os.path.abspath(options.folder))
    else:
        result = {"accumulated": accumulated(options.folder), "served": served(options.folder)}
    json.dump(plain(result), sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
