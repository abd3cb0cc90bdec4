"use strict";
// Texts of the page, in English and Chinese.
const WORDS = {
  en: {
    skip: "Skip to content", mix: "Mix", stylize: "Stylize", styles: "Styles", train: "Train", gallery: "Gallery", model: "Model",
    other: "中文", sources: "Sources", drop: "Drop, paste or choose pictures", drop_any: "Drop a picture, a folder, a .zip or a clip",
    drop_style: "Drop pictures that share a style", drop_zip: "Drop a folder, a .zip or .tar of pictures", text: "Text (English)", negative: "Negative text",
    more: "More settings", seed: "Seed", lock: "keep", dice: "Random", make: "Generate", pixel: "Colours", orientation: "Structure",
    texture: "Texture", style: "Style", conditioning_scale: "Follow the sources", guidance: "Guidance", internal_guidance: "Internal guidance", temperature: "Temperature",
    steps: "Steps", count: "Number of pictures", width: "Width", height: "Height", tile: "Seamless along", palette: "Palette", pixel_art: "Pixel art (pixels)",
    none: "none", stylize_what: "Picture, folder or clip", strength: "Strength", preserve: "Keep the colours", num_shifts: "Shifts averaged", new_style: "New style", name: "Name", save: "Save",
    train_what: "Training pictures", finetune: "Finetune the model", size: "Size", minutes: "Minutes", resolution: "Resolution", captions: "Learn captions", search: "Find",
    favourites: "favourites", download: "Download", delete: "Delete", older: "Older", picture: "Picture", close: "Close", cancel: "Cancel",
    use: "Use as a source", restore: "Restore its settings", other_style: "Same seed, other style", like: "Favourite", remove: "Remove",
    queued: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled", left: "left", no_model: "No model: train one first",
    saved: "Saved", choose: "Select pictures first (Ctrl-click)", of_model: "of model", nothing: "Empty", weight: "weight", sure: "Delete these pictures?",
    lost: "The studio does not respond", any: "any style", folder: "Choose a folder", no_pictures: "contains no pictures", opaque: "White background", samples: "Pictures in style", zoom: "Zoom", vary: "Vary", resume: "Resume", preview: "Preview", seconds: "s", minutes_left: "min",
  },
  zh: {
    skip: "跳到内容", mix: "混合", stylize: "风格化", styles: "风格", train: "训练", gallery: "画廊", model: "模型",
    other: "English", sources: "来源", drop: "拖入、粘贴或选择图片", drop_any: "拖入图片、文件夹、.zip 或视频",
    drop_style: "拖入同一风格的图片", drop_zip: "拖入图片文件夹、.zip 或 .tar", text: "文本（英文）", negative: "负面文本",
    more: "更多设置", seed: "种子", lock: "保持", dice: "随机", make: "生成图片", pixel: "颜色", orientation: "结构",
    texture: "纹理", style: "风格", conditioning_scale: "跟随来源", guidance: "引导", internal_guidance: "内部引导", temperature: "温度",
    steps: "步数", count: "数量", width: "宽", height: "高", tile: "无缝方向", palette: "调色板", pixel_art: "像素画（像素）",
    none: "无", stylize_what: "图片、文件夹或视频", strength: "强度", preserve: "保留颜色", num_shifts: "平移平均次数", new_style: "新风格", name: "名称", save: "保存",
    train_what: "训练图片", finetune: "微调此模型", size: "大小", minutes: "分钟", resolution: "分辨率", captions: "学习说明文字", search: "查找",
    favourites: "收藏", download: "下载", delete: "删除", older: "更早", picture: "图片", close: "关闭", cancel: "取消",
    use: "用作来源", restore: "恢复其设置", other_style: "同一种子，另一风格", like: "收藏", remove: "移除",
    queued: "等待中", running: "进行中", done: "完成", failed: "失败", cancelled: "已取消", left: "剩余", no_model: "还没有模型：先训练一个",
    saved: "已保存", choose: "请先选择图片（Ctrl 点击）", of_model: "属于模型", nothing: "空", weight: "权重", sure: "删除这些图片？",
    lost: "工作室没有回应", any: "任意风格", folder: "选择文件夹", no_pictures: "里面没有图片", opaque: "白色背景", samples: "风格示例", zoom: "放大", vary: "变化", resume: "继续", preview: "预览", seconds: "秒", minutes_left: "分",
  },
};
let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const word = (name) => WORDS[language][name] ?? name;
