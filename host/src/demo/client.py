"""Calls the demo's modules with stubs that protoc made from `roadstead proto`."""

import sys

import grpc
from demo.reward.grade.v0_1 import grade_pb2, grade_pb2_grpc
from demo.text_stats.analyze.v0_1 import analyze_pb2, analyze_pb2_grpc

TEXT = "Ships lie at anchor in the roadstead. Each lies on its own."

with grpc.insecure_channel(sys.argv[1]) as channel:
    analyze = analyze_pb2_grpc.AnalyzeStub(channel)
    summary = analyze.Summarize(analyze_pb2.SummarizeRequest(text=TEXT)).value
    print(f"  text-stats: {summary.words} words in {summary.sentences} sentences")

    grader = grade_pb2_grpc.GradeStub(channel)
    attempts = [
        grade_pb2.Attempt(prompt="1/2 + 1/4?", completion="So it is \\boxed{3/4}.", reference="0.75"),
        grade_pb2.Attempt(prompt="2^10?", completion="I think #### 1000", reference="1024"),
    ]
    reply, call = grader.Grade.with_call(grade_pb2.GradeRequest(attempts=attempts))
    for judgement in reply.value:
        print(f"  reward: score {judgement.score:g}, answer {judgement.answer!r}")
    trailers = dict(call.trailing_metadata())
    print(f"  answered by {trailers['roadstead-module']}, fuel {trailers['roadstead-fuel-consumed']}")
